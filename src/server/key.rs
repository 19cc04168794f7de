//! `/v1/keys/{key_id}`: who may have a key, the key itself, and the line that tells of it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::response::Response;
use tokio::time::timeout;

use crate::keys::KeyId;
use crate::limits::SERVER_RETRY_AFTER;
use crate::server::audit::{Decision, Entry, Reserved};
use crate::server::authorizers::{Denied, Grant};
use crate::server::generation::Gate;
use crate::server::limit::Wait;
use crate::server::local;
use crate::server::respond::{self, Problem};
use crate::server::route::Asking;
use crate::server::vault::{Held, Record, Unavailable};

/// Why a key is not given.
#[derive(Debug, Clone, Copy)]
enum Refusal {
    /// The path names no key.
    NotAKey,
    /// The authorisers let nobody in.
    Denied(Denied),
    /// Without an authoriser: the page that asks is not from this machine.
    ForeignPage,
    /// Without an authoriser: no package that is served has this key.
    NotServed,
    /// There is no such key.
    Unknown,
    /// The viewer may have others.
    NotCovered,
    /// The viewer has asked too often.
    TooMany(Wait),
    /// It could not be had.
    Vault(Unavailable),
    /// All of it together took too long.
    TimedOut,
}

impl Refusal {
    fn reason(&self) -> &'static str {
        match self {
            Self::NotAKey => "not-a-key",
            Self::Denied(denied) => denied.code(),
            Self::ForeignPage => "foreign-page",
            Self::NotServed => "not-served",
            Self::Unknown => "unknown-key",
            Self::NotCovered => "not-covered",
            Self::TooMany(_) => "too-many",
            Self::Vault(unavailable) => unavailable.kind.code(),
            Self::TimedOut => "timed-out",
        }
    }

    fn decision(&self) -> Decision {
        match self {
            Self::TooMany(_) => Decision::Limited,
            Self::Denied(denied) if denied.is_temporary() => Decision::Unavailable,
            Self::Vault(unavailable) if !unavailable.is_refusal() => Decision::Unavailable,
            Self::TimedOut => Decision::Unavailable,
            _ => Decision::Refused,
        }
    }

    fn problem(&self) -> Problem {
        match (self.decision(), self) {
            (_, Self::TooMany(Wait(wait))) => Problem::TooMany(*wait),
            (Decision::Unavailable, Self::Vault(unavailable)) => Problem::Unavailable(unavailable.retry_after),
            (Decision::Unavailable, _) => Problem::Unavailable(SERVER_RETRY_AFTER),
            _ => Problem::KeyRefused,
        }
    }

    /// Whether it depends on what keys there are, which its time must not tell.
    fn tells_of_keys(&self) -> bool {
        match self {
            Self::Unknown | Self::NotCovered => true,
            Self::Vault(unavailable) => unavailable.is_refusal(),
            _ => false,
        }
    }
}

/// The answer about the key that the path names as `name`.
pub(super) async fn answer(asking: &Asking<'_>, name: &str) -> Response {
    let (running, generation) = (asking.running, asking.generation);
    let client = generation.proxies.client(asking.client.address, &asking.request.headers);
    if let Err(Wait(wait)) = generation.rates.client(client) {
        // Not a decision about a key, and no line: whoever floods the server must not fill its disk.
        running.metrics.limited("client");
        return Problem::TooMany(wait).response();
    }
    let within = generation.limits.request_timeout;
    // The line's place comes first: what cannot be written down is not decided.
    let line = match &generation.audit {
        None => Some(Reserved::NONE),
        Some(audit) => timeout(within, audit.reserve()).await.ok().flatten(),
    };
    let Some(line) = line else {
        running.metrics.decided(Decision::Unavailable, "audit", asking.begun.elapsed());
        return Problem::Unavailable(SERVER_RETRY_AFTER).response();
    };
    let mut entry = Entry {
        time: SystemTime::now(),
        request: asking.id,
        client,
        decision: Decision::Given,
        reason: "granted",
        key: None,
        record: None,
        authorizer: None,
        subject: None,
        token: None,
    };
    let decided = match timeout(within, decide(asking, name, &mut entry)).await {
        Ok(decided) => decided,
        Err(_) => Err(Refusal::TimedOut),
    };
    let response = match &decided {
        Ok((key, expires)) => {
            // It counts from the answer, which may have been waited for.
            let given = SystemTime::now();
            let left = expires.map_or(Duration::MAX, |end| end.duration_since(given).unwrap_or_default());
            respond::key(key.clone(), generation.max_age.min(left), given)
        }
        Err(refusal) => {
            (entry.decision, entry.reason) = (refusal.decision(), refusal.reason());
            refusal.problem().response()
        }
    };
    running.metrics.decided(entry.decision, entry.reason, asking.begun.elapsed());
    line.send(entry);
    if decided.is_err_and(|refusal| refusal.tells_of_keys()) {
        running.vault.before_refusal(asking.begun).await;
    }
    response
}

/// The key, and when the right to it ends.
async fn decide(asking: &Asking<'_>, name: &str, entry: &mut Entry) -> Result<(Held, Option<SystemTime>), Refusal> {
    let generation = asking.generation;
    let key_id: Option<KeyId> = name.parse().ok();
    entry.key = key_id;
    match &generation.gate {
        Gate::Local => {
            entry.authorizer = Some("local");
            let key_id = key_id.ok_or(Refusal::NotAKey)?;
            if local::caller(&asking.request.headers) == local::Caller::Foreign {
                return Err(Refusal::ForeignPage);
            }
            let content_id = generation.catalog.content_of_key(name).ok_or(Refusal::NotServed)?;
            let record = record(asking, &key_id, entry).await?;
            // A commit record names a key of its own content, or somebody has changed it.
            if record.content_id.as_str() != content_id {
                return Err(Refusal::NotServed);
            }
            Ok((open(asking, &record).await?, None))
        }
        Gate::Authorizers(authorizers) => {
            let asked = asking.asked(entry.client);
            let grant = authorizers.decide(&asked, entry.time).await.map_err(Refusal::Denied)?;
            let Grant { authorizer, expires, .. } = grant;
            (entry.authorizer, entry.token) = (Some(authorizer), grant.token_id.clone());
            entry.subject.clone_from(&grant.subject);
            if let Some(subject) = grant.counted_by() {
                generation.rates.subject(subject).map_err(|wait| {
                    asking.running.metrics.limited("subject");
                    Refusal::TooMany(wait)
                })?;
            }
            let key_id = key_id.ok_or(Refusal::NotAKey)?;
            let record = record(asking, &key_id, entry).await?;
            if !grant.covers(&key_id, &record.content_id) {
                return Err(Refusal::NotCovered);
            }
            Ok((open(asking, &record).await?, expires))
        }
    }
}

async fn record(asking: &Asking<'_>, key_id: &KeyId, entry: &mut Entry) -> Result<Arc<Record>, Refusal> {
    let record = asking.running.vault.record(key_id).await.map_err(Refusal::Vault)?.ok_or(Refusal::Unknown)?;
    entry.record = Some(Arc::clone(&record));
    Ok(record)
}

async fn open(asking: &Asking<'_>, record: &Arc<Record>) -> Result<Held, Refusal> {
    asking.running.vault.key(record).await.map_err(Refusal::Vault)
}
