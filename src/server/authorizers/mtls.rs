//! Client certificates: for servers and edges that ask for keys themselves.

use std::time::SystemTime;

use crate::keys::ContentId;

use super::certificate::ClientCertificate;
use super::scope::Scope;
use super::settings::{Contents, Flaw, MtlsClientSettings, MtlsSettings};
use super::{Asked, Carrier, Denied, Grant, Verdict, short_hash};

/// The kind, as grants say it.
pub(super) const NAME: &str = "mtls";

enum Name {
    Dns(String),
    Uri(String),
    Sha256([u8; 32]),
}

/// The authoriser.
pub(super) struct Mtls {
    clients: Vec<(Name, Scope)>,
}

impl Mtls {
    pub(super) fn new(settings: MtlsSettings) -> Result<Self, Flaw> {
        if settings.client.is_empty() {
            return Err(Flaw::new("client", "lists nobody"));
        }
        let read = |(at, client): (usize, MtlsClientSettings)| {
            let flaw = |field: &str, problem: String| Flaw::new(format!("client[{at}].{field}"), problem);
            let name = match (client.dns, client.uri, client.sha256) {
                (Some(dns), None, None) if is_dns_name(&dns) => Name::Dns(dns),
                (Some(_), None, None) => return Err(flaw("dns", "is not a DNS name without a wildcard".into())),
                (None, Some(uri), None) if uri.contains(':') => Name::Uri(uri),
                (None, Some(_), None) => return Err(flaw("uri", "is not a URI".into())),
                (None, None, Some(hex)) => {
                    Name::Sha256(fingerprint(&hex).ok_or_else(|| flaw("sha256", "is not 64 hex digits".into()))?)
                }
                _ => return Err(Flaw::new(format!("client[{at}]"), "has exactly one of dns, uri and sha256")),
            };
            let scope = match client.contents {
                Contents::All(_) => Scope::everything(),
                Contents::These(ids) => {
                    let ids = ids.iter().map(|id| id.parse::<ContentId>());
                    let ids = ids.collect::<Result<_, _>>().map_err(|error| flaw("contents", error.to_string()))?;
                    Scope::bound(Some(ids), None).ok_or_else(|| flaw("contents", "is empty".into()))?
                }
            };
            Ok((name, scope))
        };
        Ok(Self { clients: settings.client.into_iter().enumerate().map(read).collect::<Result<_, _>>()? })
    }

    /// The first entry that fits decides.
    pub(super) fn decide(&self, asked: &Asked<'_>, now: SystemTime) -> Verdict {
        let Some(certificate) = asked.certificate else { return Verdict::Absent };
        if !certificate.is_valid_at(now) {
            return Denied::CertificateExpired.into();
        }
        let Some((_, scope)) = self.clients.iter().find(|(name, _)| name.is_of(certificate)) else {
            return Denied::CertificateUnknown.into();
        };
        let mut grant = Grant::new(NAME, scope.clone(), Carrier::Itself);
        grant.subject = Some(short_hash(&[certificate.sha256()]));
        grant.expires = certificate.expires();
        Verdict::Decided(Ok(grant))
    }
}

impl Name {
    fn is_of(&self, certificate: &ClientCertificate) -> bool {
        match self {
            Self::Dns(name) => certificate.has_dns(name),
            Self::Uri(uri) => certificate.has_uri(uri),
            Self::Sha256(hash) => certificate.sha256() == hash,
        }
    }
}

fn is_dns_name(name: &str) -> bool {
    let is_label =
        |label: &str| !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    name.split('.').all(is_label)
}

fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    // openssl writes colons.
    hex::decode_to_slice(text.replace(':', ""), &mut hash).ok()?;
    Some(hash)
}
