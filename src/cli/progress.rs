//! Shows how a run goes on: a bar on a terminal, lines for logs, JSON for programs.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::package::progress::Progress;

use super::args::{Global, ProgressMode};
use super::table;

/// Shows progress on standard error.
#[derive(Debug)]
pub struct Shown {
    mode: Mode,
    started: Instant,
    total: AtomicU64,
    scanned: AtomicU64,
    written: AtomicU64,
    segments: AtomicU64,
    last: Mutex<Instant>,
}

#[derive(Debug)]
enum Mode {
    Bar(ProgressBar),
    Lines,
    Json,
    Nothing,
}

impl Shown {
    /// As the command line asks.
    pub fn new(global: &Global) -> Self {
        let mode = match global.progress {
            _ if global.quiet => Mode::Nothing,
            ProgressMode::Auto if std::io::stderr().is_terminal() => Mode::Bar(bar()),
            ProgressMode::Auto | ProgressMode::None => Mode::Nothing,
            ProgressMode::Plain => Mode::Lines,
            ProgressMode::Json => Mode::Json,
        };
        Self {
            mode,
            started: Instant::now(),
            total: AtomicU64::new(0),
            scanned: AtomicU64::new(0),
            written: AtomicU64::new(0),
            segments: AtomicU64::new(0),
            last: Mutex::new(Instant::now()),
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Mode::Bar(bar) = &self.mode {
            bar.finish_and_clear();
        }
    }

    /// Whether it is time to show something again.
    fn is_due(&self, every: Duration) -> bool {
        let Ok(mut last) = self.last.try_lock() else {
            return false;
        };
        if last.elapsed() < every {
            return false;
        }
        *last = Instant::now();
        true
    }

    fn show(&self) {
        let (total, written) = (self.total.load(Ordering::Relaxed), self.written.load(Ordering::Relaxed));
        let segments = self.segments.load(Ordering::Relaxed);
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let rate = written as f64 / seconds;
        let left = (total > written && rate > 0.0).then(|| (total - written) as f64 / rate);
        match &self.mode {
            Mode::Bar(bar) => {
                bar.set_position(if total > 0 { written.min(total) } else { written });
                bar.set_message(format!("{segments} segments"));
            }
            Mode::Lines if self.is_due(Duration::from_secs(2)) => {
                let of = if total > 0 { format!(" of about {}", table::bytes(total)) } else { String::new() };
                let left = left.map_or(String::new(), |left| format!(", {left:.0} s left"));
                let (written, rate) = (table::bytes(written), table::bytes(rate as u64));
                err(&format!("{written}{of}, {segments} segments, {rate}/s{left}\n"));
            }
            Mode::Json if self.is_due(Duration::from_secs(1)) => {
                let line = serde_json::json!({
                    "scanned": self.scanned.load(Ordering::Relaxed), "written": written,
                    "total": (total > 0).then_some(total), "segments": segments,
                    "elapsed": seconds, "left": left,
                });
                err(&format!("{line}\n"));
            }
            Mode::Lines | Mode::Json | Mode::Nothing => {}
        }
    }
}

/// Writes to standard error. Nothing can be done when even that is gone.
pub(super) fn err(line: &str) {
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = "{bar:30} {bytes} of {total_bytes}  {bytes_per_sec}  {msg}  {eta} left";
    bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

impl Progress for Shown {
    fn total(&self, bytes: Option<u64>) {
        self.total.store(bytes.unwrap_or(0), Ordering::Relaxed);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        if let (Mode::Bar(bar), Some(bytes)) = (&self.mode, bytes) {
            bar.set_length(bytes);
        }
    }

    fn scanned(&self, bytes: u64) {
        self.scanned.fetch_add(bytes, Ordering::Relaxed);
    }

    fn written(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
        if !matches!(self.mode, Mode::Nothing) {
            self.show();
        }
    }

    fn segment(&self) {
        self.segments.fetch_add(1, Ordering::Relaxed);
    }
}
