//! `Accept-Encoding` (RFC 9110 section 12.5.3), and gzip for what is text.

use std::io::{self, Write};

use axum::http::HeaderMap;
use axum::http::header::ACCEPT_ENCODING;
use flate2::Compression;
use flate2::write::GzEncoder;

/// How the body of an answer is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// As it is.
    Identity,
    /// RFC 1952.
    Gzip,
}

/// The coding to answer with: gzip where the client takes it at least as gladly as none. A client that refuses both is
/// answered without one, as the section allows.
pub(super) fn choose(headers: &HeaderMap) -> Coding {
    let fields = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|field| field.to_str().ok());
    let (mut gzip, mut identity, mut rest) = (None, None, None);
    for member in fields.flat_map(|field| field.split(',')) {
        let (coding, parameters) = member.split_once(';').map_or((member, None), |(c, p)| (c, Some(p)));
        let Some(weight) = parameters.map_or(Some(1000), weight) else { continue };
        match coding.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => gzip = Some(weight),
            "identity" => identity = Some(weight),
            "*" => rest = Some(weight),
            _ => {}
        }
    }
    let gzip = gzip.or(rest).unwrap_or(0);
    if gzip > 0 && gzip >= identity.unwrap_or(0) { Coding::Gzip } else { Coding::Identity }
}

/// `q=0.5` in thousandths (section 12.4.2): at most 1, at most three decimals. `None` for anything else: what is not
/// understood is not taken for a wish.
fn weight(parameters: &str) -> Option<u32> {
    let (name, value) = parameters.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let value = value.trim();
    let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
    let plain = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths = format!("{decimals:0<3}").parse::<u32>().ok().filter(|_| plain)?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

/// The bytes in gzip.
///
/// # Errors
///
/// None that memory does not give.
pub(super) fn gzip(bytes: &[u8], level: Compression) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), level);
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use std::io::Read;

    fn of(values: &[&'static str]) -> Coding {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
        }
        choose(&headers)
    }

    #[test]
    fn qualities_decide() {
        for values in [
            &["gzip"][..],
            &["gzip, deflate, br, zstd"],
            &["deflate", "GZip"],
            &["x-gzip"],
            &["*"],
            &["br;q=1.0, gzip;q=0.8, *;q=0.1"],
            &["gzip;q=0.001"],
            &["gzip ; q = 1.000"],
            &["identity;q=0, gzip;q=0.5"],
            &["identity;q=0.5, *;q=0.5"],
            &["identity;q=0.5, gzip;q=1.0"],
        ] {
            assert_eq!(of(values), Coding::Gzip, "{values:?}");
        }
        for values in [
            &[][..],
            &[""],
            &["identity"],
            &["br, deflate"],
            &["gzip;q=0"],
            &["gzip;q=0.000"],
            &["gzip;q=0, *"],
            &["*;q=0"],
            &["identity, gzip;q=0.5"],
            &["gzip;q=0.0001"],
            &["gzip;q=1.001"],
            &["gzip;q=2"],
            &["gzip;q=-1"],
            &["gzip;q=.5"],
            &["gzip;q=0.+5"],
            &["gzip;quality=1"],
            &["gzip;q"],
            &["gzipped"],
        ] {
            assert_eq!(of(values), Coding::Identity, "{values:?}");
        }
    }

    #[test]
    fn what_is_coded_comes_out_again() {
        let text = "#EXTINF:6.0,\n".repeat(1000);
        let coded = gzip(text.as_bytes(), Compression::fast()).unwrap();
        assert!(coded.len() < text.len() / 10);
        let mut again = String::new();
        flate2::read::GzDecoder::new(coded.as_slice()).read_to_string(&mut again).unwrap();
        assert_eq!(again, text);
    }
}
