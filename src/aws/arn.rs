//! Amazon resource names.

use std::fmt;
use std::str::FromStr;

/// A resource's full name, `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arn(String);

impl Arn {
    /// `aws`, `aws-cn`, `aws-us-gov`.
    #[must_use]
    pub fn partition(&self) -> &str {
        self.part(1)
    }

    /// `kms`, `s3`.
    #[must_use]
    pub fn service(&self) -> &str {
        self.part(2)
    }

    /// The region; empty where the service has none in its names.
    #[must_use]
    pub fn region(&self) -> &str {
        self.part(3)
    }

    /// The account; empty where the service has none in its names.
    #[must_use]
    pub fn account(&self) -> &str {
        self.part(4)
    }

    /// What is named: `key/1234...`, `alias/name`, `bucket`.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.part(5)
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn part(&self, index: usize) -> &str {
        self.0.splitn(6, ':').nth(index).unwrap_or_default()
    }
}

impl fmt::Display for Arn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text is not an Amazon resource name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an ARN (arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE)")]
pub struct NotAnArn(String);

impl FromStr for Arn {
    type Err = NotAnArn;

    fn from_str(text: &str) -> Result<Self, NotAnArn> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let right = match parts.as_slice() {
            ["arn", partition, service, region, account, resource] => {
                !partition.is_empty()
                    && !service.is_empty()
                    && [partition, service, region, account].into_iter().all(|part| plain(part))
                    && !resource.is_empty()
                    && text.len() <= 2048
                    && resource.bytes().all(|byte| byte.is_ascii_graphic())
            }
            _ => false,
        };
        if right { Ok(Self(text.to_owned())) } else { Err(NotAnArn(text.to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_name() {
        let arn: Arn = "arn:aws-cn:kms:cn-north-1:111122223333:key/mrk-1234".parse().unwrap();
        let parts = [arn.partition(), arn.service(), arn.region(), arn.account(), arn.resource()];
        assert_eq!(parts, ["aws-cn", "kms", "cn-north-1", "111122223333", "key/mrk-1234"]);
        let bucket: Arn = "arn:aws:s3:::films/a:b".parse().unwrap();
        assert_eq!((bucket.region(), bucket.resource()), ("", "films/a:b"));
        assert_eq!(bucket.to_string(), "arn:aws:s3:::films/a:b");
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            "arn",
            "arn:aws:kms:eu-west-1:1",
            "ARN:aws:kms:a:b:c",
            "arn::kms:a:b:c",
            "arn:aws::a:b:c",
            "arn:aws:kms:a:b:",
            "arn:aws:kms:a b:c:d",
            "arn:aws:kms:a:b:c\nd",
            "arn:aws:kms:a/../b:1:d",
        ] {
            assert!(bad.parse::<Arn>().is_err(), "{bad:?}");
        }
    }
}
