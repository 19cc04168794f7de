//! Regions that should agree.

use std::fmt::Write;

/// Whether `text` may name a region: it becomes part of a host's name.
#[must_use]
pub fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// One warning that names all regions that are known when they are not the same: every call then crosses regions, which
/// costs time and money and fails where a region is down; Elastic Transcoder refused it (spec ETR-15). None when they agree.
#[must_use]
pub fn disagreement(key: Option<&str>, bucket: Option<&str>, client: Option<&str>) -> Option<String> {
    let known = [("the key", key), ("the bucket", bucket), ("this client", client)];
    let mut names = known.iter().filter_map(|(_, region)| *region);
    let first = names.next()?;
    if names.all(|name| name == first) {
        return None;
    }
    let mut text = String::from("AWS regions differ: ");
    let mut divider = "";
    for (what, region) in known {
        if let Some(region) = region {
            // Writing to a String cannot fail.
            let _ = write!(text, "{divider}{what} is in {region}");
            divider = ", ";
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_that_agree_need_no_word() {
        let eu = Some("eu-west-1");
        for (key, bucket, client) in
            [(eu, eu, eu), (eu, None, eu), (eu, None, None), (None, eu, None), (None, None, None), (None, eu, eu)]
        {
            assert_eq!(disagreement(key, bucket, client), None);
        }
    }

    #[test]
    fn regions_that_differ_are_all_named_once() {
        let (eu, us, ap) = (Some("eu-west-1"), Some("us-east-1"), Some("ap-south-1"));
        let text =
            "AWS regions differ: the key is in eu-west-1, the bucket is in us-east-1, this client is in ap-south-1";
        assert_eq!(disagreement(eu, us, ap).as_deref(), Some(text));
        let text = "AWS regions differ: the key is in eu-west-1, this client is in us-east-1";
        assert_eq!(disagreement(eu, None, us).as_deref(), Some(text));
        let text =
            "AWS regions differ: the key is in eu-west-1, the bucket is in eu-west-1, this client is in us-east-1";
        assert_eq!(disagreement(eu, eu, us).as_deref(), Some(text));
    }

    #[test]
    fn a_region_is_a_plain_word() {
        for good in ["eu-west-1", "us-gov-east-1", "local"] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "EU-west-1", "eu.west", "a/b", "a@b", "-a", "a-", "a b", &"a".repeat(64)] {
            assert!(!is_name(bad), "{bad:?}");
        }
    }
}
