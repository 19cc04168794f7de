//! Least-privilege policies as AWS takes them, for what keyrung does and nothing else (spec KPO-01 to KPO-04, S3-008, S3-016).

use serde_json::{Value, json};

use crate::aws::Arn;

/// A group of objects: a bucket and what their keys begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objects {
    /// The bucket.
    pub bucket: String,
    /// What the keys begin with, without a slash at the end; empty for all.
    pub prefix: String,
}

/// The encryption at rest that a bucket is to enforce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AtRest {
    /// SSE-S3.
    S3,
    /// SSE-KMS under this key.
    Kms(Arn),
    /// DSSE-KMS under this key.
    Dsse(Arn),
    /// SSE-C.
    Customer,
}

/// What a title's keys, inputs and packages are.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// `aws`, `aws-cn`, `aws-us-gov`.
    pub partition: String,
    /// The KMS key that seals data keys.
    pub key: Option<Arn>,
    /// The pairs of the encryption context; `*` in a value stands for anything.
    pub context: Vec<(String, String)>,
    /// Where inputs are.
    pub inputs: Vec<Objects>,
    /// Where packages are.
    pub packages: Option<Objects>,
    /// Where sealed keys and claims are.
    pub key_store: Option<Objects>,
    /// How packages are encrypted at rest.
    pub at_rest: Option<AtRest>,
}

impl Setup {
    /// What whoever runs `keyrung package` needs.
    #[must_use]
    pub fn packager(&self) -> Value {
        let mut statements = Vec::new();
        if let Some(key) = &self.key {
            // Decrypt, for a run that goes on with the key of one that was stopped.
            let actions = ["kms:GenerateDataKey", "kms:Decrypt"];
            statements.push(json!({
                "Sid": "SealDataKeys", "Effect": "Allow", "Action": actions, "Resource": key.as_str(),
                "Condition": self.context_condition(),
            }));
        }
        if !self.inputs.is_empty() {
            let resources: Vec<_> = self.inputs.iter().map(|at| self.objects(at)).collect();
            statements.push(json!({
                "Sid": "ReadInputs", "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": resources,
            }));
        }
        if let Some(packages) = &self.packages {
            // Media are deleted by `keyrung gc` alone, a publication's lock by the run that holds it.
            let actions = ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"];
            statements.push(json!({
                "Sid": "WritePackages", "Effect": "Allow", "Action": actions, "Resource": self.objects(packages),
            }));
            let locks = format!("{}keyrung.lock", self.objects(packages));
            statements.push(json!({
                "Sid": "ReleaseLocks", "Effect": "Allow", "Action": ["s3:DeleteObject"], "Resource": locks,
            }));
        }
        if let Some(store) = &self.key_store {
            statements.push(json!({
                "Sid": "KeepSealedKeys", "Effect": "Allow", "Action": ["s3:PutObject", "s3:GetObject"],
                "Resource": self.objects(store),
            }));
        }
        statements.extend(self.tell_absent("SeeWhatIsAbsent", self.packages.iter().chain(&self.key_store)));
        if let (Some(AtRest::Kms(key) | AtRest::Dsse(key)), Some(_)) = (&self.at_rest, &self.packages) {
            statements.push(json!({
                "Sid": "EncryptAtRest", "Effect": "Allow", "Action": ["kms:GenerateDataKey", "kms:Decrypt"],
                "Resource": key.as_str(),
                "Condition": { "StringEquals": { "kms:ViaService": self.via_s3(key) } },
            }));
        }
        document(statements)
    }

    /// What `keyrung serve` needs: to read sealed keys and open them, and nothing else.
    #[must_use]
    pub fn key_server(&self) -> Value {
        let mut statements = Vec::new();
        if let Some(key) = &self.key {
            statements.push(json!({
                "Sid": "OpenDataKeys", "Effect": "Allow", "Action": ["kms:Decrypt"], "Resource": key.as_str(),
                "Condition": self.context_condition(),
            }));
        }
        if let Some(store) = &self.key_store {
            statements.push(json!({
                "Sid": "ReadSealedKeys", "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": self.objects(store),
            }));
        }
        statements.extend(self.tell_absent("SeeWhatIsAbsent", self.key_store.iter()));
        document(statements)
    }

    /// The statements of a key policy that let two roles use the key for this content, and for no other context. The account
    /// keeps the right to administer the key: without it nobody could change the policy again.
    #[must_use]
    pub fn key_policy(&self, packager: &str, key_server: &str) -> Value {
        let account = self.key.as_ref().map_or("ACCOUNT", Arn::account);
        let condition = self.context_condition();
        document(vec![
            json!({
                "Sid": "Administer", "Effect": "Allow",
                "Principal": { "AWS": format!("arn:{}:iam::{account}:root", self.partition()) },
                "Action": [
                    "kms:Create*", "kms:Describe*", "kms:Enable*", "kms:List*", "kms:Put*", "kms:Update*", "kms:Revoke*",
                    "kms:Disable*", "kms:Get*", "kms:Delete*", "kms:TagResource", "kms:UntagResource",
                    "kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion", "kms:RotateKeyOnDemand",
                ],
                "Resource": "*",
            }),
            json!({
                "Sid": "SealDataKeys", "Effect": "Allow", "Principal": { "AWS": packager },
                "Action": ["kms:GenerateDataKey", "kms:Decrypt"], "Resource": "*", "Condition": condition.clone(),
            }),
            json!({
                "Sid": "OpenDataKeys", "Effect": "Allow", "Principal": { "AWS": key_server },
                "Action": ["kms:Decrypt"], "Resource": "*", "Condition": condition,
            }),
        ])
    }

    /// A bucket policy that refuses what is not encrypted as it should be, and what comes or goes without TLS. None without
    /// packages in a bucket.
    #[must_use]
    pub fn bucket_policy(&self) -> Option<Value> {
        let packages = self.packages.as_ref()?;
        let bucket = format!("arn:{}:s3:::{}", self.partition(), packages.bucket);
        let objects = self.objects(packages);
        let mut statements = vec![json!({
            "Sid": "OnlyOverTls", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
            "Resource": [bucket, format!("{bucket}/*")],
            "Condition": { "Bool": { "aws:SecureTransport": "false" } },
        })];
        let mut deny = |sid: &str, condition: Value| {
            statements.push(json!({
                "Sid": sid, "Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": objects,
                "Condition": condition,
            }));
        };
        // StringNotEquals is true too where the header is missing.
        let mode = |name: &str| json!({ "StringNotEquals": { "s3:x-amz-server-side-encryption": name } });
        let key = |arn: &Arn| json!({ "StringNotEquals": { "s3:x-amz-server-side-encryption-aws-kms-key-id": arn.as_str() } });
        match &self.at_rest {
            None => {}
            Some(AtRest::S3) => deny("OnlySseS3", mode("AES256")),
            Some(AtRest::Kms(arn)) => {
                deny("OnlySseKms", mode("aws:kms"));
                deny("OnlyThisKey", key(arn));
            }
            Some(AtRest::Dsse(arn)) => {
                deny("OnlyDsseKms", mode("aws:kms:dsse"));
                deny("OnlyThisKey", key(arn));
            }
            Some(AtRest::Customer) => {
                let missing = json!({ "Null": { "s3:x-amz-server-side-encryption-customer-algorithm": "true" } });
                deny("OnlySseC", missing);
            }
        }
        Some(document(statements))
    }

    fn partition(&self) -> &str {
        if self.partition.is_empty() { "aws" } else { &self.partition }
    }

    fn objects(&self, at: &Objects) -> String {
        let slash = if at.prefix.is_empty() { "" } else { "/" };
        format!("arn:{}:s3:::{}/{}{slash}*", self.partition(), at.bucket, at.prefix)
    }

    fn via_s3(&self, key: &Arn) -> String {
        let domain = if self.partition() == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
        format!("s3.{}.{domain}", key.region())
    }

    /// Without s3:ListBucket S3 says "denied" of what is absent, and keyrung could not tell a new title from a forbidden one. A
    /// condition on the prefix would not do: it is not known when a single object is asked for.
    fn tell_absent<'a>(&self, sid: &str, of: impl Iterator<Item = &'a Objects>) -> Option<Value> {
        let mut buckets: Vec<_> = of.map(|at| format!("arn:{}:s3:::{}", self.partition(), at.bucket)).collect();
        buckets.sort();
        buckets.dedup();
        let needed = !buckets.is_empty();
        needed.then(|| json!({ "Sid": sid, "Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": buckets }))
    }

    /// These pairs, and no others (spec KPO-01: single-valued pairs without ForAllValues).
    fn context_condition(&self) -> Value {
        let mut conditions = serde_json::Map::new();
        for (key, value) in &self.context {
            let operator = if value.contains(['*', '?']) { "StringLike" } else { "StringEquals" };
            let pairs = conditions.entry(operator).or_insert_with(|| json!({}));
            if let Some(pairs) = pairs.as_object_mut() {
                pairs.insert(format!("kms:EncryptionContext:{key}"), json!(value));
            }
        }
        let keys: Vec<_> = self.context.iter().map(|(key, _)| key).collect();
        conditions.insert("ForAllValues:StringEquals".to_owned(), json!({ "kms:EncryptionContextKeys": keys }));
        Value::Object(conditions)
    }
}

fn document(statements: Vec<Value>) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "arn:aws:kms:eu-west-1:111122223333:key/1234";

    fn setup() -> Setup {
        let at = |bucket: &str, prefix: &str| Objects { bucket: bucket.into(), prefix: prefix.into() };
        Setup {
            partition: "aws".into(),
            key: Some(KEY.parse().unwrap()),
            context: vec![("content-id".into(), "*".into())],
            inputs: vec![at("mezzanines", "")],
            packages: Some(at("films", "hls")),
            key_store: Some(at("private", "keys")),
            at_rest: Some(AtRest::Kms(KEY.parse().unwrap())),
        }
    }

    fn actions(policy: &Value) -> Vec<String> {
        let statements = policy["Statement"].as_array().unwrap();
        let all = statements.iter().flat_map(|statement| statement["Action"].as_array().unwrap());
        all.map(|action| action.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_key_server_can_open_keys_and_make_none() {
        let policy = setup().key_server();
        assert_eq!(actions(&policy), ["kms:Decrypt", "s3:GetObject", "s3:ListBucket"]);
        assert_eq!(policy["Statement"][0]["Resource"], KEY);
        assert_eq!(policy["Statement"][1]["Resource"], "arn:aws:s3:::private/keys/*");
        let condition = json!({
            "StringLike": { "kms:EncryptionContext:content-id": "*" },
            "ForAllValues:StringEquals": { "kms:EncryptionContextKeys": ["content-id"] },
        });
        assert_eq!(policy["Statement"][0]["Condition"], condition);
    }

    #[test]
    fn the_packager_deletes_locks_alone_and_reads_what_it_must() {
        let policy = setup().packager();
        assert!(!policy.to_string().contains("\"Resource\":\"*\""));
        let resources: Vec<_> = policy["Statement"].as_array().unwrap().iter().map(|s| &s["Resource"]).collect();
        assert_eq!(*resources[1], json!(["arn:aws:s3:::mezzanines/*"]));
        assert_eq!(*resources[2], "arn:aws:s3:::films/hls/*");
        assert_eq!(*resources[3], "arn:aws:s3:::films/hls/*keyrung.lock");
        let deletes = |s: &&Value| s["Action"].to_string().contains("Delete");
        assert_eq!(policy["Statement"].as_array().unwrap().iter().filter(deletes).count(), 1);
        assert_eq!(*resources[5], json!(["arn:aws:s3:::films", "arn:aws:s3:::private"]));
        let via = &policy["Statement"][6]["Condition"]["StringEquals"]["kms:ViaService"];
        assert_eq!(via, "s3.eu-west-1.amazonaws.com");
    }

    #[test]
    fn a_pair_without_a_star_must_be_equal() {
        let mut setup = setup();
        setup.context = vec![("service".into(), "mediaconvert.amazonaws.com".into())];
        let condition = &setup.key_policy("P", "S")["Statement"][2]["Condition"];
        assert_eq!(condition["StringEquals"]["kms:EncryptionContext:service"], "mediaconvert.amazonaws.com");
        assert_eq!(condition["ForAllValues:StringEquals"]["kms:EncryptionContextKeys"], json!(["service"]));
    }

    #[test]
    fn the_bucket_enforces_the_chosen_encryption() {
        let sids = |at_rest| {
            let policy = Setup { at_rest, ..setup() }.bucket_policy().unwrap();
            let statements = policy["Statement"].as_array().unwrap().clone();
            assert!(statements.iter().all(|statement| statement["Effect"] == "Deny"));
            statements.iter().map(|statement| statement["Sid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let arn: Arn = KEY.parse().unwrap();
        assert_eq!(sids(None), ["OnlyOverTls"]);
        assert_eq!(sids(Some(AtRest::S3)), ["OnlyOverTls", "OnlySseS3"]);
        assert_eq!(sids(Some(AtRest::Kms(arn.clone()))), ["OnlyOverTls", "OnlySseKms", "OnlyThisKey"]);
        assert_eq!(sids(Some(AtRest::Dsse(arn))), ["OnlyOverTls", "OnlyDsseKms", "OnlyThisKey"]);
        assert_eq!(sids(Some(AtRest::Customer)), ["OnlyOverTls", "OnlySseC"]);
        assert_eq!(Setup { packages: None, ..setup() }.bucket_policy(), None);
    }
}
