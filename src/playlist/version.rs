//! EXT-X-VERSION, computed from what a playlist uses (spec HLS-010, HLS-011, 1.2).

use std::fmt;

/// Something in a playlist that older readers do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Feature {
    /// The IV attribute on EXT-X-KEY (VER-02).
    KeyIv,
    /// EXTINF with decimals (VER-03).
    FloatDuration,
    /// EXT-X-BYTERANGE (VER-04).
    ByteRange,
    /// EXT-X-I-FRAMES-ONLY (VER-04).
    IFramesOnly,
    /// KEYFORMAT or KEYFORMATVERSIONS (VER-05).
    KeyFormat,
    /// METHOD=SAMPLE-AES (VER-05).
    SampleAes,
    /// EXT-X-MAP in a playlist of I-frames only (VER-05).
    IFrameMap,
    /// EXT-X-MAP in any other playlist (VER-06).
    Map,
    /// INSTREAM-ID with a `SERVICE` value (VER-07).
    ServiceCaptions,
}

impl Feature {
    /// The lowest version that has this feature.
    #[must_use]
    pub const fn since(self) -> Version {
        Version(match self {
            Self::KeyIv => 2,
            Self::FloatDuration => 3,
            Self::ByteRange | Self::IFramesOnly => 4,
            Self::KeyFormat | Self::SampleAes | Self::IFrameMap => 5,
            Self::Map => 6,
            Self::ServiceCaptions => 7,
        })
    }
}

/// A protocol version, as EXT-X-VERSION writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u8);

impl Version {
    /// The version of a playlist that uses nothing newer.
    pub const ONE: Self = Self(1);

    /// The lowest version that has all of `features` (HLS-011).
    #[must_use]
    pub fn required(features: impl IntoIterator<Item = Feature>) -> Self {
        features.into_iter().map(Feature::since).fold(Self::ONE, Self::max)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_highest_that_is_needed() {
        assert_eq!(Version::required([]).number(), 1);
        assert_eq!(Version::required([Feature::KeyIv]).number(), 2);
        assert_eq!(Version::required([Feature::FloatDuration, Feature::KeyIv]).number(), 3);
        assert_eq!(Version::required([Feature::ByteRange, Feature::KeyIv]).number(), 4);
        assert_eq!(Version::required([Feature::Map, Feature::IFrameMap]).number(), 6);
        assert_eq!(Version::required([Feature::ServiceCaptions]).number(), 7);
    }
}
