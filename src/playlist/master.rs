//! Writes multivariant playlists: one line pair for each variant, the session's keys and the closed captions.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use crate::playlist::value::{CodecString, FrameRate, InstreamId, KeyUri, QuotedString, Resolution, Uri, VideoRange};
use crate::playlist::version::{Feature, Version};

/// CLOSED-CAPTIONS of a variant (MVP-012).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ClosedCaptions {
    /// No attribute: nothing is said about captions.
    #[default]
    Absent,
    /// `NONE`: there are no captions, in this or any other variant.
    None,
    /// The captions of this group.
    Group(QuotedString),
}

/// One EXT-X-STREAM-INF and its URI (MVP-001).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// Where the media playlist is, relative to the multivariant playlist.
    pub uri: Uri,
    /// Peak segment bit rate in bits per second, from [`peak`](crate::playlist::bandwidth::peak) (MVP-002).
    pub bandwidth: u64,
    /// Average segment bit rate in bits per second, from [`average`](crate::playlist::bandwidth::average) (MVP-004).
    pub average_bandwidth: u64,
    /// Every codec of the variant, written video first; when empty, the attribute is left out (MVP-006).
    pub codecs: Vec<CodecString>,
    /// The picture's size; `None` for audio alone.
    pub resolution: Option<Resolution>,
    /// The highest frame rate; `None` for audio alone.
    pub frame_rate: Option<FrameRate>,
    /// Written only when some variant is not SDR, and then on all (MVP-008).
    pub video_range: VideoRange,
    /// What is said about closed captions.
    pub closed_captions: ClosedCaptions,
}

/// One EXT-X-MEDIA of type CLOSED-CAPTIONS (MVP-010).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CcMember {
    /// The channel or service in the video.
    pub instream_id: InstreamId,
    /// What a person reads in the menu; unique in its group.
    pub name: QuotedString,
    /// The language as an RFC 5646 tag; Apple asks for it (MVP-013).
    pub language: Option<QuotedString>,
}

/// A group of closed captions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CcGroup {
    /// GROUP-ID.
    pub group: QuotedString,
    /// The group's captions in order.
    pub members: Vec<CcMember>,
}

/// Why a multivariant playlist would contradict itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MasterError {
    /// There is no variant.
    #[error("a multivariant playlist needs a variant")]
    NoVariant,
    /// `CLOSED-CAPTIONS=NONE` is on some variants only (MVP-012).
    #[error("variant {uri} does not say CLOSED-CAPTIONS=NONE as another one does")]
    CaptionsNoneOnSome {
        /// The first variant without it.
        uri: Uri,
    },
    /// A variant names a group that is not there (MVP-012).
    #[error("variant {uri} names the closed-caption group \"{group}\", which is not there")]
    UnknownGroup {
        /// The variant.
        uri: Uri,
        /// The group it names.
        group: QuotedString,
    },
    /// Two groups have one GROUP-ID.
    #[error("there are two closed-caption groups \"{group}\"")]
    DuplicateGroup {
        /// The GROUP-ID.
        group: QuotedString,
    },
    /// Two members of a group have the same NAME or INSTREAM-ID (MVP-010), or there is no member.
    #[error("the closed-caption group \"{group}\" is empty, or has a NAME or INSTREAM-ID twice")]
    GroupMembers {
        /// The group.
        group: QuotedString,
    },
    /// Groups of one type must have the same members (MVP-011).
    #[error("the closed-caption group \"{group}\" has other members than the first group")]
    GroupsDiffer {
        /// The first group that differs.
        group: QuotedString,
    },
}

/// A multivariant playlist of MPEG-TS variants with AES-128 keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterPlaylist {
    /// Whether every segment of every variant decodes on its own (IND-001, IND-003).
    pub independent_segments: bool,
    /// The variants; players start with the first (MVP-017).
    pub variants: Vec<Variant>,
    /// The keys that a player may load ahead; each URI is written once, without IV (KEY-018).
    pub session_keys: Vec<KeyUri>,
    /// The groups that [`ClosedCaptions::Group`] names.
    pub closed_caption_groups: Vec<CcGroup>,
}

impl MasterPlaylist {
    /// The version that [`MasterPlaylist::render`] writes.
    #[must_use]
    pub fn version(&self) -> Version {
        let mut members = self.closed_caption_groups.iter().flat_map(|group| &group.members);
        Version::required(members.any(|member| member.instream_id.is_service()).then_some(Feature::ServiceCaptions))
    }

    /// The playlist's text, with LF line ends (AMB-40).
    ///
    /// # Errors
    /// When the parts contradict each other, see [`MasterError`].
    pub fn render(&self) -> Result<String, MasterError> {
        self.check_variants()?;
        self.check_groups()?;
        let mut out = String::with_capacity(256 + self.variants.len() * 256);
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        Ok(out)
    }

    fn check_variants(&self) -> Result<(), MasterError> {
        if self.variants.is_empty() {
            return Err(MasterError::NoVariant);
        }
        let says_none = |variant: &&Variant| variant.closed_captions == ClosedCaptions::None;
        if self.variants.iter().any(|variant| says_none(&variant))
            && let Some(variant) = self.variants.iter().find(|variant| !says_none(variant))
        {
            return Err(MasterError::CaptionsNoneOnSome { uri: variant.uri.clone() });
        }
        for variant in &self.variants {
            if let ClosedCaptions::Group(group) = &variant.closed_captions
                && !self.closed_caption_groups.iter().any(|known| known.group == *group)
            {
                return Err(MasterError::UnknownGroup { uri: variant.uri.clone(), group: group.clone() });
            }
        }
        Ok(())
    }

    fn check_groups(&self) -> Result<(), MasterError> {
        type Member<'a> = (&'a QuotedString, Option<&'a QuotedString>, InstreamId);
        let mut seen = BTreeSet::new();
        let mut first: Option<BTreeSet<Member<'_>>> = None;
        for CcGroup { group, members } in &self.closed_caption_groups {
            if !seen.insert(group) {
                return Err(MasterError::DuplicateGroup { group: group.clone() });
            }
            let names: BTreeSet<_> = members.iter().map(|member| &member.name).collect();
            let instream_ids: BTreeSet<_> = members.iter().map(|member| member.instream_id).collect();
            if members.is_empty() || names.len() != members.len() || instream_ids.len() != members.len() {
                return Err(MasterError::GroupMembers { group: group.clone() });
            }
            let set = members.iter().map(|m| (&m.name, m.language.as_ref(), m.instream_id)).collect();
            if *first.get_or_insert_with(|| BTreeSet::clone(&set)) != set {
                return Err(MasterError::GroupsDiffer { group: group.clone() });
            }
        }
        Ok(())
    }

    fn write(&self, out: &mut String) -> fmt::Result {
        writeln!(out, "#EXTM3U")?;
        writeln!(out, "#EXT-X-VERSION:{}", self.version())?;
        if self.independent_segments {
            writeln!(out, "#EXT-X-INDEPENDENT-SEGMENTS")?;
        }
        let mut seen = BTreeSet::new();
        for uri in self.session_keys.iter().filter(|uri| seen.insert(*uri)) {
            writeln!(out, "#EXT-X-SESSION-KEY:METHOD=AES-128,URI=\"{uri}\"")?;
        }
        for CcGroup { group, members } in &self.closed_caption_groups {
            for member in members {
                write!(out, "#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"{group}\"")?;
                if let Some(language) = &member.language {
                    write!(out, ",LANGUAGE=\"{language}\"")?;
                }
                writeln!(out, ",NAME=\"{}\",INSTREAM-ID=\"{}\"", member.name, member.instream_id)?;
            }
        }
        let with_range = self.variants.iter().any(|variant| variant.video_range != VideoRange::Sdr);
        for variant in &self.variants {
            variant.write(out, with_range)?;
        }
        Ok(())
    }
}

impl Variant {
    fn write(&self, out: &mut String, with_range: bool) -> fmt::Result {
        write!(out, "#EXT-X-STREAM-INF:BANDWIDTH={}", self.bandwidth)?;
        write!(out, ",AVERAGE-BANDWIDTH={}", self.average_bandwidth)?;
        if !self.codecs.is_empty() {
            let mut codecs: Vec<&CodecString> = self.codecs.iter().collect();
            codecs.sort_by_key(|codec| codec.is_audio());
            let codecs: Vec<&str> = codecs.into_iter().map(CodecString::as_str).collect();
            write!(out, ",CODECS=\"{}\"", codecs.join(","))?;
        }
        if let Some(resolution) = self.resolution {
            write!(out, ",RESOLUTION={resolution}")?;
        }
        if let Some(frame_rate) = self.frame_rate {
            write!(out, ",FRAME-RATE={frame_rate}")?;
        }
        if with_range {
            write!(out, ",VIDEO-RANGE={}", self.video_range)?;
        }
        match &self.closed_captions {
            ClosedCaptions::Absent => {}
            ClosedCaptions::None => write!(out, ",CLOSED-CAPTIONS=NONE")?,
            ClosedCaptions::Group(group) => write!(out, ",CLOSED-CAPTIONS=\"{group}\"")?,
        }
        writeln!(out, "\n{}", self.uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &str) -> QuotedString {
        QuotedString::new(text).unwrap()
    }

    fn variant(name: &str, height: u32) -> Variant {
        Variant {
            uri: Uri::new(format!("{name}/index.m3u8")).unwrap(),
            bandwidth: 5_000_000,
            average_bandwidth: 4_000_000,
            codecs: vec![CodecString::new("mp4a.40.2").unwrap(), CodecString::new("avc1.64001f").unwrap()],
            resolution: Some(Resolution { width: height * 16 / 9, height }),
            frame_rate: Some(FrameRate::new(30000, 1001).unwrap()),
            video_range: VideoRange::Sdr,
            closed_captions: ClosedCaptions::Absent,
        }
    }

    fn master(variants: Vec<Variant>) -> MasterPlaylist {
        MasterPlaylist { independent_segments: true, variants, session_keys: vec![], closed_caption_groups: vec![] }
    }

    fn group(name: &str, members: &[(InstreamId, &str)]) -> CcGroup {
        let members = members
            .iter()
            .map(|&(instream_id, name)| CcMember { instream_id, name: quoted(name), language: Some(quoted("en")) })
            .collect();
        CcGroup { group: quoted(name), members }
    }

    #[test]
    fn a_ladder_reads_as_expected() {
        let mut audio = variant("audio", 0);
        audio.codecs.truncate(1);
        audio.resolution = None;
        audio.frame_rate = None;
        let mut master = master(vec![variant("1080p", 1080), audio]);
        let key = |text| KeyUri::new(text).unwrap();
        master.session_keys = vec![key("/v1/keys/a"), key("/v1/keys/b"), key("/v1/keys/a")];
        assert_eq!(
            master.render().unwrap(),
            "#EXTM3U\n\
             #EXT-X-VERSION:1\n\
             #EXT-X-INDEPENDENT-SEGMENTS\n\
             #EXT-X-SESSION-KEY:METHOD=AES-128,URI=\"/v1/keys/a\"\n\
             #EXT-X-SESSION-KEY:METHOD=AES-128,URI=\"/v1/keys/b\"\n\
             #EXT-X-STREAM-INF:BANDWIDTH=5000000,AVERAGE-BANDWIDTH=4000000,CODECS=\"avc1.64001f,mp4a.40.2\",\
             RESOLUTION=1920x1080,FRAME-RATE=29.970\n\
             1080p/index.m3u8\n\
             #EXT-X-STREAM-INF:BANDWIDTH=5000000,AVERAGE-BANDWIDTH=4000000,CODECS=\"mp4a.40.2\"\n\
             audio/index.m3u8\n"
        );
    }

    #[test]
    fn one_hdr_variant_puts_the_range_on_all() {
        let mut hdr = variant("hdr", 1080);
        hdr.video_range = VideoRange::Pq;
        let text = master(vec![variant("sdr", 1080), hdr]).render().unwrap();
        assert_eq!(text.matches(",VIDEO-RANGE=SDR\nsdr/").count(), 1);
        assert_eq!(text.matches(",VIDEO-RANGE=PQ\nhdr/").count(), 1);
        assert!(!master(vec![variant("sdr", 1080)]).render().unwrap().contains("VIDEO-RANGE"));
    }

    #[test]
    fn closed_captions_are_declared_before_they_are_named() {
        let mut list = master(vec![variant("a", 720)]);
        list.variants[0].closed_captions = ClosedCaptions::Group(quoted("cc"));
        let mut captions =
            group("cc", &[(InstreamId::cc(1).unwrap(), "English"), (InstreamId::cc(3).unwrap(), "Español")]);
        captions.members[1].language = None;
        list.closed_caption_groups = vec![captions];
        let text = list.render().unwrap();
        assert!(text.contains(
            "\n#EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"cc\",LANGUAGE=\"en\",NAME=\"English\",INSTREAM-ID=\"CC1\"\n\
             #EXT-X-MEDIA:TYPE=CLOSED-CAPTIONS,GROUP-ID=\"cc\",NAME=\"Español\",INSTREAM-ID=\"CC3\"\n#EXT-X-STREAM-INF:"
        ));
        assert!(text.contains(",CLOSED-CAPTIONS=\"cc\"\na/"));
        assert!(text.contains("#EXT-X-VERSION:1\n"));
        list.closed_caption_groups = vec![group("cc", &[(InstreamId::service(1).unwrap(), "English")])];
        assert!(list.render().unwrap().contains("#EXT-X-VERSION:7\n"));
    }

    #[test]
    fn captions_none_is_on_all_or_none() {
        let mut list = master(vec![variant("a", 720), variant("b", 360)]);
        list.variants[0].closed_captions = ClosedCaptions::None;
        let uri = list.variants[1].uri.clone();
        assert_eq!(list.render(), Err(MasterError::CaptionsNoneOnSome { uri }));
        list.variants[1].closed_captions = ClosedCaptions::None;
        assert_eq!(list.render().unwrap().matches("CLOSED-CAPTIONS=NONE\n").count(), 2);
    }

    #[test]
    fn contradictions_are_refused() {
        assert_eq!(master(vec![]).render(), Err(MasterError::NoVariant));
        let (cc1, cc2) = (InstreamId::cc(1).unwrap(), InstreamId::cc(2).unwrap());
        let with = |groups: Vec<CcGroup>| {
            let mut list = master(vec![variant("a", 720)]);
            list.variants[0].closed_captions = ClosedCaptions::Group(quoted("cc"));
            list.closed_caption_groups = groups;
            list.render()
        };
        let good = || group("cc", &[(cc1, "A"), (cc2, "B")]);
        assert!(with(vec![good(), group("dd", &[(cc2, "B"), (cc1, "A")])]).is_ok());
        assert!(matches!(with(vec![]), Err(MasterError::UnknownGroup { .. })));
        assert!(matches!(with(vec![group("dd", &[(cc1, "A")])]), Err(MasterError::UnknownGroup { .. })));
        assert!(matches!(with(vec![good(), good()]), Err(MasterError::DuplicateGroup { .. })));
        assert!(matches!(with(vec![group("cc", &[])]), Err(MasterError::GroupMembers { .. })));
        assert!(matches!(with(vec![group("cc", &[(cc1, "A"), (cc2, "A")])]), Err(MasterError::GroupMembers { .. })));
        assert!(matches!(with(vec![group("cc", &[(cc1, "A"), (cc1, "B")])]), Err(MasterError::GroupMembers { .. })));
        assert!(matches!(with(vec![good(), group("dd", &[(cc1, "A")])]), Err(MasterError::GroupsDiffer { .. })));
    }
}
