//! Shows how a catalogue goes on: a line for each title that runs and one for all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;

use crate::cli::args::{Global, ProgressMode};
use crate::cli::progress::err;
use crate::cli::table;
use crate::package::progress::Progress;

/// The progress of all titles.
#[derive(Debug)]
pub struct Board {
    mode: Mode,
    started: Instant,
    titles: u64,
    /// Bytes of all inputs, as far as they are known.
    bytes: u64,
    ended: AtomicU64,
    failed: AtomicU64,
    /// Bytes that ended titles had, so that skipped ones count too.
    passed: AtomicU64,
    last: Mutex<Instant>,
    places: Vec<Place>,
}

#[derive(Debug)]
enum Mode {
    Bars(MultiProgress, ProgressBar),
    Lines,
    Json,
    Nothing,
}

/// A place in which one title runs at a time.
#[derive(Debug)]
struct Place {
    bar: Option<ProgressBar>,
    title: Mutex<String>,
    total: AtomicU64,
    written: AtomicU64,
}

impl Board {
    /// For so many titles of so many bytes, `at_once` at a time, as the command line asks.
    pub fn new(global: &Global, titles: u64, bytes: u64, at_once: usize) -> Self {
        let mode = match global.progress {
            _ if global.quiet => Mode::Nothing,
            ProgressMode::Auto if std::io::IsTerminal::is_terminal(&std::io::stderr()) => {
                let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
                let all = bars.add(ProgressBar::new(titles));
                all.set_style(style("{bar:30} {pos} of {len} titles  {msg}"));
                Mode::Bars(bars, all)
            }
            ProgressMode::Auto | ProgressMode::None => Mode::Nothing,
            ProgressMode::Plain => Mode::Lines,
            ProgressMode::Json => Mode::Json,
        };
        let place = |_| Place {
            bar: match &mode {
                Mode::Bars(bars, all) => {
                    let bar = bars.insert_before(all, ProgressBar::new(0));
                    bar.set_style(style("{bar:20} {decimal_bytes} of {decimal_total_bytes}  {msg}"));
                    Some(bar)
                }
                _ => None,
            },
            title: Mutex::default(),
            total: AtomicU64::new(0),
            written: AtomicU64::new(0),
        };
        let places = (0..at_once).map(place).collect();
        Self {
            places,
            mode,
            started: Instant::now(),
            titles,
            bytes,
            ended: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            last: Mutex::new(Instant::now()),
        }
    }

    /// Who is told how the title in a place goes on.
    pub fn place(&self, number: usize) -> &dyn Progress {
        self.places.get(number).map_or(&crate::package::progress::Silent as &dyn Progress, |place| place)
    }

    /// A title begins in a place.
    pub fn begins(&self, number: usize, title: &str) {
        if let Some(place) = self.places.get(number) {
            title.clone_into(&mut place.title.lock().unwrap_or_else(PoisonError::into_inner));
            place.total.store(0, Ordering::Relaxed);
            place.written.store(0, Ordering::Relaxed);
            if let Some(bar) = &place.bar {
                bar.set_position(0);
                bar.set_length(0);
                bar.set_message(title.to_owned());
            }
        }
        self.show();
    }

    /// It has ended.
    pub fn ends(&self, number: usize, bytes: u64, has_failed: bool) {
        self.ended.fetch_add(1, Ordering::Relaxed);
        self.failed.fetch_add(u64::from(has_failed), Ordering::Relaxed);
        self.passed.fetch_add(bytes, Ordering::Relaxed);
        self.leaves(number);
        self.show();
    }

    /// A place is empty again.
    pub fn leaves(&self, number: usize) {
        if let Some(place) = self.places.get(number) {
            place.title.lock().unwrap_or_else(PoisonError::into_inner).clear();
            place.written.store(0, Ordering::Relaxed);
            if let Some(bar) = &place.bar {
                bar.set_message(String::new());
            }
        }
    }

    /// Lets others write to the terminal.
    pub fn aside(&self, write: impl FnOnce()) {
        match &self.mode {
            Mode::Bars(bars, _) => bars.suspend(write),
            _ => write(),
        }
    }

    /// Takes the bars away.
    pub fn finish(&self) {
        if let Mode::Bars(bars, all) = &self.mode {
            for bar in self.places.iter().filter_map(|place| place.bar.as_ref()) {
                bar.finish_and_clear();
            }
            all.finish_and_clear();
            let _ = bars.clear();
        }
    }

    /// Shows again what is due: bars as they please, lines every two seconds, JSON every second.
    pub fn show(&self) {
        let every = match &self.mode {
            Mode::Nothing => return,
            Mode::Bars(..) => Duration::from_millis(100),
            Mode::Lines => Duration::from_secs(2),
            Mode::Json => Duration::from_secs(1),
        };
        let Ok(mut last) = self.last.try_lock() else {
            return;
        };
        if last.elapsed() < every {
            return;
        }
        *last = Instant::now();
        let ended = self.ended.load(Ordering::Relaxed);
        let failed = self.failed.load(Ordering::Relaxed);
        let running: u64 = self.places.iter().map(|place| place.written.load(Ordering::Relaxed)).sum();
        let done = self.passed.load(Ordering::Relaxed) + running;
        let seconds = self.started.elapsed().as_secs_f64().max(0.001);
        let rate = done as f64 / seconds;
        let left = (self.bytes > done && rate > 0.0).then(|| (self.bytes - done) as f64 / rate);
        let mut told =
            format!("{} of {}, {}/s", table::bytes(done), table::bytes(self.bytes), table::bytes(rate as u64));
        if let Some(left) = left {
            told.push_str(&format!(", {left:.0} s left"));
        }
        if failed > 0 {
            told.push_str(&format!(", {failed} failed"));
        }
        match &self.mode {
            Mode::Bars(_, all) => {
                all.set_position(ended);
                all.set_message(told);
            }
            Mode::Lines => {
                let places: Vec<String> = self.places.iter().filter_map(Place::told).collect();
                let places = if places.is_empty() { String::new() } else { format!("; {}", places.join(", ")) };
                err(&format!("{ended} of {} titles, {told}{places}\n", self.titles));
            }
            Mode::Json => {
                let running: Vec<_> = self.places.iter().filter_map(Place::json).collect();
                let line = json!({
                    "titles": self.titles, "ended": ended, "failed": failed, "bytes": done, "total": self.bytes,
                    "running": running, "elapsed": seconds, "left": left,
                });
                err(&format!("{line}\n"));
            }
            Mode::Nothing => {}
        }
    }
}

impl Place {
    fn title(&self) -> Option<String> {
        let title = self.title.lock().unwrap_or_else(PoisonError::into_inner);
        (!title.is_empty()).then(|| title.clone())
    }

    fn told(&self) -> Option<String> {
        let (total, written) = (self.total.load(Ordering::Relaxed), self.written.load(Ordering::Relaxed));
        let percent = (written.min(total) * 100).checked_div(total).unwrap_or(0);
        self.title().map(|title| format!("{title} {percent} %"))
    }

    fn json(&self) -> Option<serde_json::Value> {
        let (total, written) = (self.total.load(Ordering::Relaxed), self.written.load(Ordering::Relaxed));
        self.title().map(|title| json!({ "content_id": title, "written": written, "total": total }))
    }
}

impl Progress for Place {
    fn total(&self, bytes: Option<u64>) {
        self.total.store(bytes.unwrap_or(0), Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_length(bytes.unwrap_or(0));
        }
    }

    fn scanned(&self, _bytes: u64) {}

    fn written(&self, bytes: u64) {
        let written = self.written.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if let Some(bar) = &self.bar {
            bar.set_position(written.min(self.total.load(Ordering::Relaxed)));
        }
    }

    fn segment(&self) {}
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
