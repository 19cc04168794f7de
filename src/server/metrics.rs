//! Figures for Prometheus. No label ever holds what a client sends.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::server::audit::Decision;
use crate::server::vault;

/// What the media type of the text is (OpenMetrics 1.0).
pub(super) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Bounds of the histogram, in seconds: around the 5 ms that are promised, and up to what a slow provider takes.
const BOUNDS: [f64; 12] = [0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 2.5, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decided {
    decision: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct By {
    by: &'static str,
}

/// What is counted.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    answers: Family<Answered, Counter>,
    decisions: Family<Decided, Counter>,
    key_seconds: Histogram,
    limited: Family<By, Counter>,
    turned_away: Family<By, Counter>,
    pub(super) connections: Gauge,
    pub(super) requests: Gauge,
    handshakes_failed: Counter,
    reloads: Family<By, Counter>,
    remembered: Gauge,
    certificate_expires: Gauge,
    vault: VaultFigures,
}

/// The vault counts for itself; its figures are copied when they are asked for.
#[derive(Debug, Default)]
struct VaultFigures {
    hits: Counter,
    misses: Counter,
    read: Counter,
    opened: Counter,
    failed: Counter,
    refused: Counter,
    stale: Counter,
    turned_away: Counter,
    waiting: Gauge,
    records: Gauge,
    keys: Gauge,
}

/// Figures that are read off when they are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) vault: vault::Counts,
    /// Clients and subjects whose rates are remembered.
    pub(super) remembered: usize,
    pub(super) certificate_expires: Option<SystemTime>,
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("keyrung");
        let metrics = Self {
            answers: Family::default(),
            decisions: Family::default(),
            key_seconds: Histogram::new(BOUNDS),
            limited: Family::default(),
            turned_away: Family::default(),
            connections: Gauge::default(),
            requests: Gauge::default(),
            handshakes_failed: Counter::default(),
            reloads: Family::default(),
            remembered: Gauge::default(),
            certificate_expires: Gauge::default(),
            vault: VaultFigures::default(),
            registry: Registry::default(),
        };
        registry.register("answers", "Answers by route and status", metrics.answers.clone());
        registry.register("key_decisions", "Decisions about keys, with the reason", metrics.decisions.clone());
        let help = "Time from a key request's head to its answer";
        registry.register_with_unit("key_request_duration", help, Unit::Seconds, metrics.key_seconds.clone());
        registry.register(
            "rate_limited",
            "Requests beyond a rate, by client address or subject",
            metrics.limited.clone(),
        );
        let help = "Connections closed at once, or for being idle, stalled or too slow";
        registry.register("connections_closed", help, metrics.turned_away.clone());
        registry.register("connections", "Connections open", metrics.connections.clone());
        registry.register("requests_in_flight", "Requests that are being answered", metrics.requests.clone());
        registry.register("tls_handshakes_failed", "TLS handshakes that failed", metrics.handshakes_failed.clone());
        registry.register("reloads", "Reloads of the configuration, by outcome", metrics.reloads.clone());
        registry.register("rate_states", "Clients and subjects whose rates are remembered", metrics.remembered.clone());
        let help = "When the certificate ends, in seconds since 1970; 0 without TLS";
        registry.register("tls_certificate_expires", help, metrics.certificate_expires.clone());
        let keys = registry.sub_registry_with_prefix("vault");
        keys.register("hits", "Keys answered from memory", metrics.vault.hits.clone());
        keys.register("misses", "Keys that were not in memory", metrics.vault.misses.clone());
        for (name, help, counter) in [
            ("read", "Calls to the key store", &metrics.vault.read),
            ("opened", "Calls to providers to open a key", &metrics.vault.opened),
            ("failed", "Calls to store and providers that failed", &metrics.vault.failed),
            ("refused", "Calls to store and providers that were refused", &metrics.vault.refused),
            ("stale", "Records and keys given beyond their life, for want of the provider", &metrics.vault.stale),
            ("turned_away", "Times that a viewer was told to come again", &metrics.vault.turned_away),
        ] {
            keys.register(name, help, counter.clone());
        }
        keys.register("waiting", "Requests waiting for store or provider", metrics.vault.waiting.clone());
        keys.register("records", "Records in memory", metrics.vault.records.clone());
        keys.register("keys", "Opened keys in memory", metrics.vault.keys.clone());
        Self { registry, ..metrics }
    }

    /// A request was answered.
    pub(super) fn answered(&self, route: &'static str, status: u16) {
        self.answers.get_or_create(&Answered { route, status }).inc();
    }

    /// There was a decision about a key.
    pub(super) fn decided(&self, decision: Decision, reason: &'static str, took: Duration) {
        self.decisions.get_or_create(&Decided { decision: decision.as_str(), reason }).inc();
        self.key_seconds.observe(took.as_secs_f64());
    }

    /// A request was beyond a rate: of the `client`'s address, or of the `subject`.
    pub(super) fn limited(&self, by: &'static str) {
        self.limited.get_or_create(&By { by }).inc();
    }

    /// A connection was closed for this.
    pub(super) fn closed(&self, by: &'static str) {
        self.turned_away.get_or_create(&By { by }).inc();
    }

    /// A handshake failed.
    pub(super) fn handshake_failed(&self) {
        self.handshakes_failed.inc();
    }

    /// A reload took place, or changed nothing.
    pub(super) fn reloaded(&self, outcome: &'static str) {
        self.reloads.get_or_create(&By { by: outcome }).inc();
    }

    /// All figures as text.
    pub(super) fn text(&self, now: &Now) -> String {
        let counts = now.vault;
        for (counter, value) in [
            (&self.vault.hits, counts.hits),
            (&self.vault.misses, counts.misses),
            (&self.vault.read, counts.read),
            (&self.vault.opened, counts.opened),
            (&self.vault.failed, counts.failed),
            (&self.vault.refused, counts.refused),
            (&self.vault.stale, counts.stale),
            (&self.vault.turned_away, counts.turned_away),
        ] {
            counter.inner().store(value, Ordering::Relaxed);
        }
        for (gauge, value) in [
            (&self.vault.waiting, counts.waiting),
            (&self.vault.records, counts.records),
            (&self.vault.keys, counts.keys),
        ] {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        self.remembered.set(i64::try_from(now.remembered).unwrap_or(i64::MAX));
        let expires = now.certificate_expires.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        self.certificate_expires.set(expires.map_or(0, |time| i64::try_from(time.as_secs()).unwrap_or(i64::MAX)));
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
