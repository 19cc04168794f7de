//! What a KMS key may be called by.

use std::fmt;
use std::str::FromStr;

use crate::aws::Arn;
use crate::keys::KeyError;

/// A KMS key as a user names it: its id, its ARN, `alias/NAME`, or the alias's ARN (spec KMS-001).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KmsKeyName {
    text: String,
    arn: Option<Arn>,
}

const WANTED: &str = "the id or ARN of a KMS key, alias/NAME, or an alias's ARN";

impl KmsKeyName {
    /// As it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The region that it names; an id or alias is looked for in the client's own.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.arn.as_ref().map(Arn::region)
    }

    /// Whether this is a key's own ARN, which names it for ever.
    #[must_use]
    pub fn is_key_arn(&self) -> bool {
        self.arn.as_ref().is_some_and(|arn| arn.resource().starts_with("key/"))
    }

    /// Whether both name one multi-Region key, here and in another region: either opens what the other sealed (spec KMS-013).
    #[must_use]
    pub fn is_replica_of(&self, other: &Self) -> bool {
        let (Some(a), Some(b)) = (&self.arn, &other.arn) else { return false };
        let key = |arn: &Arn| (arn.partition().to_owned(), arn.account().to_owned(), arn.resource().to_owned());
        a.resource().starts_with("key/mrk-") && key(a) == key(b)
    }
}

impl fmt::Display for KmsKeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for KmsKeyName {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let wrong = || KeyError::Invalid { wanted: WANTED, given: text.to_owned() };
        let named = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte))
        };
        if !text.starts_with("arn:") {
            let right = text.len() <= 2048 && named(text.strip_prefix("alias/").unwrap_or(text));
            // Anything with a stroke that is no alias is half of an ARN.
            let right = right && (text.starts_with("alias/") || !text.contains('/'));
            return if right { Ok(Self { text: text.to_owned(), arn: None }) } else { Err(wrong()) };
        }
        let arn: Arn = text.parse().map_err(|_| wrong())?;
        let resource = arn.resource().strip_prefix("key/").or_else(|| arn.resource().strip_prefix("alias/"));
        let right = arn.service() == "kms"
            && crate::aws::region::is_name(arn.region())
            && !arn.account().is_empty()
            && resource.is_some_and(named);
        if right { Ok(Self { text: text.to_owned(), arn: Some(arn) }) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> KmsKeyName {
        text.parse().unwrap()
    }

    #[test]
    fn the_four_ways_to_name_a_key() {
        assert_eq!(name("1234abcd-12ab-34cd-56ef-1234567890ab").region(), None);
        assert_eq!(name("mrk-1234").region(), None);
        assert_eq!(name("alias/films/hd").region(), None);
        let key = name("arn:aws:kms:eu-west-1:111122223333:key/1234");
        assert_eq!((key.region(), key.is_key_arn()), (Some("eu-west-1"), true));
        let alias = name("arn:aws:kms:eu-west-1:111122223333:alias/films");
        assert_eq!((alias.region(), alias.is_key_arn()), (Some("eu-west-1"), false));
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "alias/",
            "key/1234",
            "a b",
            "a\n",
            "arn:aws:s3:::bucket",
            "arn:aws:kms:eu-west-1::key/1",
            "arn:aws:kms::111122223333:key/1",
            "arn:aws:kms:eu-west-1:111122223333:key/",
            "arn:aws:kms:eu-west-1:111122223333:grant/1",
            "arn:aws:kms:EU:111122223333:key/1",
        ] {
            assert!(bad.parse::<KmsKeyName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn replicas_are_known_by_id_and_account() {
        let here = name("arn:aws:kms:eu-west-1:111122223333:key/mrk-1");
        assert!(here.is_replica_of(&name("arn:aws:kms:us-east-1:111122223333:key/mrk-1")));
        assert!(!here.is_replica_of(&name("arn:aws:kms:us-east-1:111122223333:key/mrk-2")));
        assert!(!here.is_replica_of(&name("arn:aws:kms:us-east-1:444455556666:key/mrk-1")));
        assert!(!here.is_replica_of(&name("mrk-1")));
        let single = name("arn:aws:kms:eu-west-1:111122223333:key/1");
        assert!(!single.is_replica_of(&single.clone()));
    }
}
