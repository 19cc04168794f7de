//! Asking another server for each key, as nginx's `auth_request` and its like do.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use lru::LruCache;
use reqwest::{Client, Url};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::keys::KeyId;
use crate::limits;

use super::http::{self, Schemes};
use super::scope::Scope;
use super::settings::{Flaw, ForwardSettings};
use super::{Asked, Carrier, Denied, Grant, Report, Verdict, credential, hash, key_id, short_hash};

const METHOD: HeaderName = HeaderName::from_static("x-original-method");
const URI: HeaderName = HeaderName::from_static("x-original-uri");
const KEY_ID: HeaderName = HeaderName::from_static("x-original-key-id");

/// What the endpoint said, if it said yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Granted,
    Refused,
}

/// The authoriser.
pub(super) struct Forward {
    client: Client,
    url: Url,
    timeout: Duration,
    life: Duration,
    turns: Semaphore,
    /// Answers by the hash of everything that was sent.
    answers: Mutex<LruCache<[u8; 32], (Answer, Instant)>>,
    report: OnceLock<Report>,
    /// When trouble was last told.
    told: Mutex<Option<Instant>>,
}

impl Forward {
    pub(super) fn new(settings: ForwardSettings) -> Result<Self, Flaw> {
        let url = http::url("url", &settings.url, Schemes::HttpToo)?;
        let timeout = settings.timeout.get();
        if timeout.is_zero() || timeout > limits::FORWARD_LONGEST {
            let longest = limits::FORWARD_LONGEST.as_secs();
            return Err(Flaw::new("timeout", format!("is nothing, or more than {longest}s")));
        }
        if !(1..=limits::FORWARD_CONCURRENCY).contains(&settings.concurrency) {
            return Err(Flaw::new("concurrency", format!("is not 1 to {}", limits::FORWARD_CONCURRENCY)));
        }
        let client = http::client(timeout, settings.ca.as_deref())?;
        let (life, turns) = (settings.cache.get(), Semaphore::new(settings.concurrency));
        let capacity: NonZeroUsize = limits::FORWARD_CACHE;
        let (answers, report, told) = (Mutex::new(LruCache::new(capacity)), OnceLock::new(), Mutex::new(None));
        Ok(Self { client, url, timeout, life, turns, answers, report, told })
    }

    /// Has trouble told from now on. The first who asks for it is told.
    pub(super) fn report_to(&self, report: &Report) {
        let _ = self.report.set(Arc::clone(report));
    }

    /// Every request is its kind: whether there is a credential is the endpoint's to say.
    pub(super) async fn decide(&self, asked: &Asked<'_>, now: SystemTime) -> Verdict {
        let Some(key) = key_id(asked.path) else { return Denied::ForwardNotKey.into() };
        let question = match question(asked, key) {
            Ok(question) => question,
            Err(denied) => return denied.into(),
        };
        let sent = hash(&parts(&question));
        let (answer, left) = match self.known(&sent) {
            Some(known) => known,
            None => {
                let asked = timeout(self.timeout, self.ask(question.clone())).await;
                match asked.unwrap_or_else(|_| Err("there is none in time".to_owned())) {
                    Ok(answer) => {
                        self.keep(sent, answer);
                        (answer, self.life)
                    }
                    Err(problem) => {
                        self.tell(&problem);
                        return Denied::ForwardUnavailable.into();
                    }
                }
            }
        };
        if answer == Answer::Refused {
            return Denied::ForwardRefused.into();
        }
        let mut grant = Grant::new("forward", Scope::key(key), Carrier::Itself);
        let who: Vec<&[u8]> =
            [AUTHORIZATION, COOKIE].iter().filter_map(|name| question.get(name)).map(HeaderValue::as_bytes).collect();
        grant.subject = (!who.is_empty()).then(|| short_hash(&who));
        // The endpoint names no end: its answer is worth no more than the cache will keep it.
        grant.expires = now.checked_add(left);
        Verdict::Decided(Ok(grant))
    }

    /// An answer that is remembered, and for how long yet.
    fn known(&self, sent: &[u8; 32]) -> Option<(Answer, Duration)> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (answer, at) = *answers.get(sent)?;
        if let Some(left) = self.life.checked_sub(at.elapsed()).filter(|left| !left.is_zero()) {
            return Some((answer, left));
        }
        answers.pop(sent);
        None
    }

    fn keep(&self, sent: [u8; 32], answer: Answer) {
        if !self.life.is_zero() {
            self.answers.lock().unwrap_or_else(PoisonError::into_inner).put(sent, (answer, Instant::now()));
        }
    }

    /// Not for every viewer: whoever asks often must not fill the log.
    fn tell(&self, problem: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|at| at.elapsed() < limits::FORWARD_TOLD) {
            return;
        }
        *told = Some(Instant::now());
        drop(told);
        if let Some(report) = self.report.get() {
            report(format!("no answer of {} could be used: {problem}", http::shown(&self.url)));
        }
    }

    /// What is neither yes nor no is trouble: it grants nothing, and refuses nobody for good.
    async fn ask(&self, question: HeaderMap) -> Result<Answer, String> {
        let _turn = self.turns.acquire().await.map_err(|error| error.to_string())?;
        let response = self.client.get(self.url.clone()).headers(question).send().await.map_err(http::cause)?;
        let answer = match response.status() {
            status if status.is_success() => Answer::Granted,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Answer::Refused,
            status => return Err(format!("it is {status}")),
        };
        // A body that is read to its end leaves a connection that can be used again; nobody looks at it.
        let _ = http::body(response, limits::FORWARD_BODY).await;
        Ok(answer)
    }
}

/// The fields that are sent.
fn question(asked: &Asked<'_>, key: KeyId) -> Result<HeaderMap, Denied> {
    let text = |text: String| HeaderValue::try_from(text).map_err(|_| Denied::Unreadable);
    let mut fields = HeaderMap::new();
    fields.insert(METHOD, text(asked.method.to_string())?);
    let query = asked.query.map(|query| format!("?{query}")).unwrap_or_default();
    fields.insert(URI, text(format!("{}{query}", asked.path))?);
    fields.insert(KEY_ID, text(key.to_string())?);
    if let Some(value) = credential::single(asked.headers, &AUTHORIZATION)? {
        fields.insert(AUTHORIZATION, HeaderValue::from_bytes(value).map_err(|_| Denied::Unreadable)?);
    }
    // HTTP/2 may bring cookies in several fields; they are one for those who speak HTTP/1.1 (RFC 9113 section 8.2.3).
    let cookies: Vec<&[u8]> = asked.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if !cookies.is_empty() {
        let joined = HeaderValue::from_bytes(&cookies.join(&b"; "[..]));
        fields.insert(COOKIE, joined.map_err(|_| Denied::Unreadable)?);
    }
    Ok(fields)
}

/// What a question is known by: every name and value.
fn parts(question: &HeaderMap) -> Vec<&[u8]> {
    [METHOD, URI, KEY_ID, AUTHORIZATION, COOKIE]
        .iter()
        .flat_map(|name| match question.get(name) {
            Some(value) => [&b"1"[..], value.as_bytes()],
            None => [&b"0"[..], &b""[..]],
        })
        .collect()
}
