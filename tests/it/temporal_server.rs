//! Starts a real Temporal server, and keyrung's workers.

use std::fs::{self, File};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::common::{Check, Run, World, repository, scratch, started};

/// This process's server.
pub struct Server {
    /// `127.0.0.1:PORT`.
    pub address: String,
    /// The folder with its database.
    pub folder: PathBuf,
}

/// The server; the first caller starts it. It is killed when the process ends.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(start)
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its number").port()
}

fn start() -> Server {
    let program = repository("target/temporal/bin/temporal");
    assert!(program.exists(), "there is no {}; hint: run scripts/temporal, or scripts/test", program.display());
    let folder = scratch("temporal-server");
    let address = format!("127.0.0.1:{}", free_port());
    let (port, database) = (address.rsplit(':').next().expect("a port").to_owned(), folder.join("temporal.sqlite"));
    let (log, tell_of) = (folder.join("log"), folder.join("log"));
    let (tell, told) = mpsc::channel();
    // The kernel kills the server when the thread that started it ends, so this one waits as long as the process lives.
    thread::spawn(move || {
        let log = File::create(log).expect("a log");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(program).args(["server", "start-dev", "--headless"]);
        command.args(["--ip", "127.0.0.1", "--port", &port, "--http-port", "0", "--metrics-port", "0"]);
        command.arg("--db-filename").arg(database).args(["--log-level", "warn", "--namespace", "other"]);
        command.env("HOME", std::env::temp_dir()).stdin(Stdio::null());
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        let ended = command.status().expect("setpriv starts; hint: apt-get install -y util-linux");
        let _ = tell.send(ended);
    });
    let server = Server { address, folder };
    let world = World::new("temporal-ready");
    let started = Instant::now();
    loop {
        let words = || fs::read_to_string(&tell_of).unwrap_or_default();
        if let Ok(ended) = told.try_recv() {
            panic!("the Temporal server ended: {ended}: {}", words());
        }
        // It listens before its namespace is there.
        let answers = TcpStream::connect(&server.address).is_ok()
            && world.run(&["status", "--address", &server.address]).stderr.contains("has no titles");
        if answers {
            return server;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "the Temporal server does not start: {}", words());
        thread::sleep(Duration::from_millis(200));
    }
}

/// A world whose keyrung knows where the server is.
pub fn world(name: &str) -> World {
    let mut world = World::new(name);
    world.environment.push(("TEMPORAL_ADDRESS", server().address.clone()));
    world
}

/// A worker process. It is killed when it is dropped.
pub struct Worker {
    child: Child,
    log: PathBuf,
}

impl Worker {
    /// One that takes titles of a queue.
    pub fn start(world: &World, queue: &str, more: &[&str]) -> Self {
        let log = scratch("worker").join("log");
        let mut command = world.command(&[&["worker", "-v", "--task-queue", queue], more].concat());
        let file = File::create(&log).expect("a log");
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("a log")).stderr(file);
        Self { child: command.spawn().expect("keyrung starts"), log }
    }

    /// One whose disk is slow: every read of an input and every flush takes so many milliseconds.
    pub fn slow(world: &World, queue: &str, milliseconds: u32, more: &[&str]) -> Self {
        let log = scratch("worker").join("log");
        let arguments = ["worker", "-v", "--address", &server().address, "--task-queue", queue];
        let inject = format!("inject=pread64,fsync:delay_enter={}", milliseconds * 1000);
        let options = ["--seccomp-bpf", "-e", "trace=pread64,fsync", "-e", &inject];
        let mut command = world.traced(&[&arguments, more].concat(), &options);
        let file = File::create(&log).expect("a log");
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("a log")).stderr(file);
        Self { child: started(command.spawn(), "strace"), log }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has said.
    pub fn words(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Kills it at once.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Tells it to drain, and waits for its end. Gives back its exit code, what it said, and how long that took.
    pub fn drain(mut self, within: Duration) -> Check<(Option<i32>, String, Duration)> {
        let started = Instant::now();
        kill_process(Pid::from_child(&self.child), Signal::TERM).map_err(|e| e.to_string())?;
        while started.elapsed() < within {
            if let Some(ended) = self.child.try_wait().map_err(|e| e.to_string())? {
                return Ok((ended.code(), self.words(), started.elapsed()));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err(format!("it has not ended within {within:?}: {}", self.words()))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a batch stands.
pub fn status(world: &World, batch: &str, more: &[&str]) -> Check<Value> {
    run_status(world, batch, more).json()
}

/// The same with its exit code.
pub fn run_status(world: &World, batch: &str, more: &[&str]) -> Run {
    world.run(&[&["--json", "status", "--batch", batch], more].concat())
}

/// Waits until a batch stands so, and gives back how.
pub fn wait(world: &World, batch: &str, within: u64, so: impl Fn(&Value) -> bool) -> Check<Value> {
    let started = Instant::now();
    loop {
        let seen = status(world, batch, &[])?;
        if so(&seen) {
            return Ok(seen);
        }
        check!(started.elapsed() < Duration::from_secs(within), "not within {within} s: {seen:#}");
        thread::sleep(Duration::from_millis(100));
    }
}
