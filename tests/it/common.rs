//! Running things: keyrung in a world of its own, the tools that judge it, and many cases on all cores.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// What a check leaves: nothing, or what is wrong.
pub type Check<T = ()> = Result<T, String>;

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// An empty folder below `target/` that stays for a look when a test fails, until the next run.
pub fn scratch(name: &str) -> PathBuf {
    static CLEAN: Once = Once::new();
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("it");
    CLEAN.call_once(|| {
        let _ = fs::remove_dir_all(&root);
    });
    let folder = root.join(format!("{name}-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    fs::create_dir_all(&folder).expect("a folder below target");
    folder
}

/// How a program ended.
#[derive(Debug)]
pub struct Run {
    /// Exit code; None when a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// What a finished process has left.
    pub fn of(output: Output) -> Self {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Self { code: output.status.code(), stdout: output.stdout, stderr }
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// Standard output as one JSON document and nothing else.
    pub fn json(&self) -> Check<Value> {
        serde_json::from_slice(&self.stdout)
            .map_err(|e| format!("stdout is not one JSON document: {e}: {}", self.text()))
    }

    /// The same when the exit code is `code`.
    pub fn expect(self, code: i32) -> Check<Self> {
        check!(self.code == Some(code), "exit code {:?}, not {code}: {}{}", self.code, self.stderr, self.text());
        Ok(self)
    }
}

/// A world of its own for keyrung: a home, a working folder, no environment.
#[derive(Debug, Clone)]
pub struct World {
    /// The working folder.
    pub folder: PathBuf,
    /// What is in the environment, besides where its home is.
    pub environment: Vec<(&'static str, String)>,
}

impl World {
    /// A new one.
    pub fn new(name: &str) -> Self {
        Self { folder: scratch(name), environment: Vec::new() }
    }

    /// keyrung with these arguments, not started yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keyrung"));
        command.args(arguments).env_clear().current_dir(&self.folder);
        command.env("KEYRUNG_HOME", self.folder.join("home")).env("HOME", &self.folder).env("LC_ALL", "C.UTF-8");
        command.envs(self.environment.iter().cloned());
        command
    }

    /// Runs keyrung with nothing on standard input.
    pub fn run(&self, arguments: &[&str]) -> Run {
        let output = self.command(arguments).stdin(Stdio::null()).output();
        Run::of(output.expect("keyrung starts"))
    }

    /// Runs keyrung under strace, which does something to one of its system calls: `inject` as in strace(1).
    pub fn run_injected(&self, arguments: &[&str], inject: &str) -> Run {
        let trace = format!("trace={}", inject.split(':').next().unwrap_or_default());
        self.run_traced(arguments, &["-e", &trace, "-e", &format!("inject={inject}")])
    }

    /// Runs keyrung under strace with these options.
    pub fn run_traced(&self, arguments: &[&str], options: &[&str]) -> Run {
        let mut command = self.traced(arguments, options);
        Run::of(started(command.stdin(Stdio::null()).output(), "strace"))
    }

    /// Keyrung under strace with these options; to be started, which makes keyrung itself the child.
    pub fn traced(&self, arguments: &[&str], options: &[&str]) -> Command {
        self.wrapped("strace", &[&["-D", "-f", "-qq", "-o", "/dev/null"], options].concat(), arguments)
    }

    /// Keyrung as another tool starts it.
    pub fn wrapped(&self, tool: &str, options: &[&str], arguments: &[&str]) -> Command {
        let plain = self.command(arguments);
        let mut command = Command::new(tool);
        command.args(options).arg(plain.get_program()).args(plain.get_args()).current_dir(&self.folder);
        // Not cargo's folders of libraries: the dynamic linker would look into each of them under the eyes of strace.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let home = self.folder.join("home");
        command.env("KEYRUNG_HOME", home).env("HOME", &self.folder).env("LC_ALL", "C.UTF-8");
        command
    }

    /// Runs keyrung with a file on standard input, through a pipe.
    pub fn run_with_input(&self, arguments: &[&str], input: &Path) -> Run {
        let mut file = File::open(input).expect("the input");
        self.run_fed(arguments, move |pipe| {
            // A refusal may close the pipe before all is written.
            let _ = std::io::copy(&mut file, pipe);
        })
        .0
    }

    /// Runs keyrung with what `feed` writes on standard input; also gives back what `feed` tells.
    pub fn run_fed<T: Send + 'static>(
        &self,
        arguments: &[&str],
        feed: impl FnOnce(&mut ChildStdin) -> T + Send + 'static,
    ) -> (Run, T) {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("keyrung starts");
        let mut pipe = child.stdin.take().expect("a pipe");
        let feeder = thread::spawn(move || feed(&mut pipe));
        let output = child.wait_with_output().expect("keyrung ends");
        (Run::of(output), feeder.join().expect("the feeder ends"))
    }
}

/// Runs a tool of the system.
pub fn tool(name: &str, arguments: &[&str]) -> Run {
    Run::of(started(Command::new(name).args(arguments).stdin(Stdio::null()).output(), name))
}

/// What a tool's start gave; without the tool the test fails with the command that installs it.
pub fn started<T>(result: std::io::Result<T>, name: &str) -> T {
    let package = match name {
        "ffprobe" => "ffmpeg",
        "setpriv" | "prlimit" | "flock" => "util-linux",
        "systemd-analyze" => "systemd",
        _ => name,
    };
    result.unwrap_or_else(|error| panic!("{name}: {error}; hint: apt-get install -y {package}, or run scripts/test"))
}

/// Makes a check of every item, on all cores, and fails with all that is wrong.
pub fn every<T: Sync>(items: &[T], name: impl Fn(&T) -> String + Sync, check: impl Fn(&T) -> Check + Sync) {
    assert!(!items.is_empty(), "there is nothing to check");
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(text) = check(item) {
                        // ffmpeg complains of every picture; the first complaints tell enough.
                        let text: String = text.chars().take(400).collect();
                        wrong.lock().expect("no panic").push(format!("{}: {text}", name(item)));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().expect("no panic");
    assert!(wrong.is_empty(), "{} of {} are wrong:\n{}", wrong.len(), items.len(), wrong.join("\n"));
}

/// Waits until something is so.
pub fn eventually(what: &str, within: Duration, mut is_so: impl FnMut() -> bool) -> Check {
    let until = Instant::now() + within;
    while !is_so() {
        check!(Instant::now() < until, "{what}: not in {within:?}");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}
