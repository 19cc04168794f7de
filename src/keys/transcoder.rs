//! Jobs of Amazon Elastic Transcoder: the `HlsContentProtection` of a playlist, read and filled in (spec ETR-01 to ETR-08).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::crypto::iv::Iv;
use crate::keys::wrapped::{KeyMd5, KeyMd5Error, WrappedKey, WrappedKeyError};

/// A job, of which one playlist's protection is used.
#[derive(Debug, Clone, PartialEq)]
pub struct TranscoderJob {
    /// The whole document, with every field as it came and in its order.
    document: Value,
    /// Where the protection is in it (RFC 6901).
    place: String,
    protection: HlsProtection,
}

/// How a playlist's segments are to be protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HlsProtection {
    /// The sealed key; none: one is to be made.
    pub key: Option<WrappedKey>,
    /// Its checksum.
    pub md5: Option<KeyMd5>,
    /// The IV of all segments; none: one is to be made for each.
    pub iv: Option<Iv>,
    /// The key's URL in the playlists.
    pub url: Option<String>,
    /// Where the key goes.
    pub storage: KeyStorage,
}

/// `KeyStoragePolicy` (spec ETR-06).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStorage {
    /// The job gives the sealed key back, and nobody finds it beside the playlists.
    NoStore,
    /// The plaintext key is stored beside the playlists.
    WithVariantPlaylists,
}

/// Why a job was refused. No message holds a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// It is not JSON, or has another form.
    #[error("that is no job of Elastic Transcoder: {0}")]
    Form(String),
    /// No playlist is protected, or none that has the name.
    #[error("no playlist of the job {0}")]
    NoPlaylist(String),
    /// Several playlists are protected, and it was not said which one is meant.
    #[error("{} playlists of the job have an HlsContentProtection: {}", .0.len(), .0.join(", "))]
    Several(Vec<String>),
    /// A field has a value that it cannot have.
    #[error("HlsContentProtection.{field}: {why}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it can have.
        why: &'static str,
    },
    /// `Key` is no sealed key.
    #[error("HlsContentProtection.Key: {0}")]
    Key(#[from] WrappedKeyError),
    /// `KeyMd5` is no checksum.
    #[error("HlsContentProtection.KeyMd5: {0}")]
    Md5(#[from] KeyMd5Error),
}

/// The longest URL, in characters (spec ETR-05).
const URL: usize = 512;

impl TranscoderJob {
    /// Reads a job, as it is given to CreateJob or comes from ReadJob; `playlist` names one of its playlists, which is only
    /// needed when several are protected.
    ///
    /// # Errors
    /// [`JobError`].
    pub fn from_json(json: &[u8], playlist: Option<&str>) -> Result<Self, JobError> {
        // Not the parser's words: they could quote a key.
        let document: Value = serde_json::from_slice(json)
            .map_err(|e| JobError::Form(format!("not JSON (line {}, column {})", e.line(), e.column())))?;
        let root = if document.get("Job").is_some_and(Value::is_object) { "/Job" } else { "" };
        let playlists = document.pointer(&format!("{root}/Playlists")).and_then(Value::as_array);
        let playlists = playlists.ok_or_else(|| JobError::Form("it has no Playlists".into()))?;
        let name = |number: usize, playlist: &Value| match playlist.get("Name").and_then(Value::as_str) {
            Some(name) => name.to_owned(),
            None => number.to_string(),
        };
        let wanted = |(number, one): &(usize, &Value)| {
            one.get("HlsContentProtection").is_some_and(|protection| !protection.is_null())
                && playlist.is_none_or(|wanted| wanted == name(*number, one))
        };
        let found: Vec<(usize, &Value)> = playlists.iter().enumerate().filter(wanted).collect();
        let (number, value) = match (found.as_slice(), playlist) {
            ([(number, one)], _) => (*number, one.get("HlsContentProtection").unwrap_or(&Value::Null)),
            ([], None) => return Err(JobError::NoPlaylist("has an HlsContentProtection".into())),
            ([], Some(name)) => {
                return Err(JobError::NoPlaylist(format!("is named {name:?} and has an HlsContentProtection")));
            }
            (several, _) => return Err(JobError::Several(several.iter().map(|(n, one)| name(*n, one)).collect())),
        };
        let protection = HlsProtection::read(value)?;
        let place = format!("{root}/Playlists/{number}/HlsContentProtection");
        Ok(Self { place, protection, document })
    }

    /// The protection that is used.
    #[must_use]
    pub fn protection(&self) -> &HlsProtection {
        &self.protection
    }

    /// The job with the key and its checksum in it, and everything else as it came.
    #[must_use]
    pub fn filled(&self, key: &WrappedKey) -> Value {
        let mut document = self.document.clone();
        if let Some(Value::Object(protection)) = document.pointer_mut(&self.place) {
            protection.insert("Key".into(), key.to_string().into());
            protection.insert("KeyMd5".into(), key.md5().to_string().into());
        }
        document
    }
}

impl HlsProtection {
    fn read(value: &Value) -> Result<Self, JobError> {
        let fields = value.as_object().ok_or_else(|| JobError::Form("HlsContentProtection is no object".into()))?;
        // Blank is as good as absent (spec ETR-02).
        let text = |field: &'static str| match fields.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(JobError::Field { field, why: "it is a string" }),
        };
        match text("Method")? {
            None | Some("aes-128") => {}
            Some(_) => return Err(JobError::Field { field: "Method", why: "only aes-128 is known" }),
        }
        let key = text("Key")?.map(str::parse).transpose()?;
        let md5 = text("KeyMd5")?.map(str::parse).transpose()?;
        if key.is_none() && md5.is_some() {
            return Err(JobError::Field { field: "KeyMd5", why: "there is no Key that it could be of" });
        }
        let iv = text("InitializationVector")?.map(|text| STANDARD.decode(text).ok()).map(|bytes| {
            let why = "it is 16 bytes in base64";
            let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
            bytes.map(Iv::from_bytes).ok_or(JobError::Field { field: "InitializationVector", why })
        });
        let url = text("LicenseAcquisitionUrl")?.map(str::to_owned);
        let storage = match text("KeyStoragePolicy")? {
            None | Some("NoStore") => KeyStorage::NoStore,
            Some("WithVariantPlaylists") => KeyStorage::WithVariantPlaylists,
            Some(_) => {
                let why = "it is NoStore or WithVariantPlaylists";
                return Err(JobError::Field { field: "KeyStoragePolicy", why });
            }
        };
        let refused = match &url {
            Some(_) if storage == KeyStorage::WithVariantPlaylists => {
                Some("it must be blank with WithVariantPlaylists")
            }
            Some(url) if url.chars().count() > URL => Some("it has at most 512 characters"),
            Some(url) if !url.starts_with("https://") && !url.starts_with("http://") => {
                Some("it is an absolute URL, http or https")
            }
            _ => None,
        };
        if let Some(why) = refused {
            return Err(JobError::Field { field: "LicenseAcquisitionUrl", why });
        }
        Ok(Self { key, md5, iv: iv.transpose()?, url, storage })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = r#"{
  "PipelineId": "1111111111111-abcde1",
  "Zulu": 1,
  "Outputs": [{"Key": "600k/a", "SegmentDuration": "6"}],
  "Playlists": [
    {"Name": "clear", "Format": "HLSv3"},
    {
      "Name": "film",
      "Format": "HLSv3",
      "HlsContentProtection": {
        "Method": "aes-128",
        "Key": "",
        "KeyMd5": "",
        "InitializationVector": "",
        "LicenseAcquisitionUrl": "https://www.example.com/datakey",
        "KeyStoragePolicy": "NoStore"
      },
      "OutputKeys": ["600k/a"]
    }
  ],
  "Alpha": null
}"#;

    fn key() -> WrappedKey {
        WrappedKey::from_bytes(&[0xab; 60]).unwrap()
    }

    #[test]
    fn a_job_is_given_back_with_the_key_and_nothing_else_changed() {
        let job = TranscoderJob::from_json(JOB.as_bytes(), None).unwrap();
        let protection = job.protection();
        assert_eq!((&protection.key, protection.md5, protection.iv), (&None, None, None));
        assert_eq!(protection.url.as_deref(), Some("https://www.example.com/datakey"));
        assert_eq!(protection.storage, KeyStorage::NoStore);
        let expected = JOB
            .replace(r#""Key": """#, &format!(r#""Key": "{}""#, key()))
            .replace(r#""KeyMd5": """#, &format!(r#""KeyMd5": "{}""#, key().md5()));
        let compact = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(compact(&job.filled(&key()).to_string()), compact(&expected));
        // What ReadJob answers has the job one deeper, and then has the key.
        let read = format!(r#"{{"Job": {expected}}}"#);
        let again = TranscoderJob::from_json(read.as_bytes(), Some("film")).unwrap();
        assert_eq!((&again.protection().key, again.protection().md5), (&Some(key()), Some(key().md5())));
        assert_eq!(compact(&again.filled(&key()).to_string()), compact(&read));
    }

    #[test]
    fn fields_are_checked() {
        let with = |from: &str, to: &str| {
            assert!(JOB.contains(from), "{from}");
            TranscoderJob::from_json(JOB.replace(from, to).as_bytes(), None)
        };
        let iv = with(r#"Vector": """#, r#"Vector": "MTIzNDU2Nzg5MDEyMzQ1Ng==""#).unwrap().protection().iv.unwrap();
        assert_eq!(iv.to_string(), "31323334353637383930313233343536", "spec section 9");
        let absent = with(r#""KeyStoragePolicy": "NoStore""#, r#""More": {}"#).unwrap();
        assert_eq!(absent.protection().storage, KeyStorage::NoStore);
        let plain = "a2V5a2V5a2V5a2V5a2V5aw==";
        for (from, to, why) in [
            ("aes-128", "sample-aes", "only aes-128"),
            (r#""Key": "","#, &format!(r#""Key": "{plain}","#), "plaintext key"),
            (r#""KeyMd5": """#, r#""KeyMd5": "zG9MId7htnmIZEWCXXG5yg==""#, "no Key"),
            (r#"Vector": """#, r#"Vector": "AQEB""#, "16 bytes"),
            (r#"Vector": """#, r#"Vector": 5"#, "a string"),
            ("NoStore", "Public", "NoStore or"),
            ("NoStore", "WithVariantPlaylists", "must be blank"),
            ("https://www", "ftp://www", "absolute"),
            ("www.example", &"w".repeat(513), "512"),
        ] {
            let error = with(from, to).unwrap_err().to_string();
            assert!(error.contains(why) && !error.contains(plain), "{to}: {error}");
        }
    }

    #[test]
    fn the_playlist_is_found() {
        let names = |error: JobError| error.to_string();
        let several = JOB.replace(r#""Format": "HLSv3"}"#, r#""HlsContentProtection": {}}"#);
        let error = names(TranscoderJob::from_json(several.as_bytes(), None).unwrap_err());
        assert_eq!(error, "2 playlists of the job have an HlsContentProtection: clear, film");
        let job = TranscoderJob::from_json(several.as_bytes(), Some("clear")).unwrap();
        assert!(job.filled(&key()).pointer("/Playlists/0/HlsContentProtection/KeyMd5").is_some());
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"Playlists":{}}"#,
            r#"{"Playlists":[]}"#,
            r#"{"Playlists":[{"HlsContentProtection":1}]}"#,
        ] {
            assert!(TranscoderJob::from_json(bad.as_bytes(), None).is_err(), "{bad}");
        }
        assert!(TranscoderJob::from_json(JOB.as_bytes(), Some("other")).is_err());
    }

    proptest::proptest! {
        #[test]
        fn random_jobs_never_panic(bytes: Vec<u8>, text: String) {
            let _ = (TranscoderJob::from_json(&bytes, None), TranscoderJob::from_json(text.as_bytes(), Some(&text)));
        }
    }
}
