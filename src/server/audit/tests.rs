use super::*;

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use crate::server::Settings;

/// Takes a few bytes at a time, and fails at first.
#[derive(Clone, Default)]
struct Slow {
    text: Arc<Mutex<Vec<u8>>>,
    failures: Arc<AtomicUsize>,
}

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.failures.load(Ordering::SeqCst) > 0 {
            self.failures.fetch_sub(1, Ordering::SeqCst);
            return Err(io::ErrorKind::StorageFull.into());
        }
        let count = bytes.len().min(7);
        self.text.lock().unwrap().extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Default)]
struct Silent(Mutex<Vec<String>>);

impl Outside for Silent {
    fn ready(&self, _: SocketAddr, _: Option<SocketAddr>) {}

    fn notice(&self, notice: Notice) {
        self.0.lock().unwrap().push(notice.to_string());
    }

    fn reload(&self) -> Result<Settings, String> {
        Err("never".to_owned())
    }

    fn audit(&self, _: &std::path::Path) -> io::Result<Box<dyn Write + Send>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn entry(number: u64) -> Entry {
    Entry {
        time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        request: RequestId { run: 7, number },
        client: "2001:db8::1".parse().unwrap(),
        decision: Decision::Refused,
        reason: "not-a-key",
        key: None,
        record: None,
        authorizer: Some("jwt"),
        subject: None,
        token: Some("a\"b\nc".to_owned()),
    }
}

#[test]
fn a_line_is_one_line_of_json() {
    let mut line = Vec::new();
    entry(31).write(&mut line);
    let expected = r#"{"time":"2023-11-14T22:13:20.123Z","request_id":"00000007-1f","decision":"refused","reason":"not-a-key","authorizer":"jwt","token_id":"a\"b\nc","client":"2001:db8::1"}"#;
    assert_eq!(String::from_utf8(line).unwrap(), format!("{expected}\n"));
}

#[test]
fn all_lines_are_written_whole_whatever_the_disk_does() {
    let (out, outside) = (Slow::default(), Arc::new(Silent::default()));
    out.failures.store(2, Ordering::SeqCst);
    let (audit, thread) = Audit::start(Box::new(out.clone()), outside.clone()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for number in 0..100 {
            audit.reserve().await.unwrap().send(entry(number));
        }
    });
    drop(audit);
    thread.join().unwrap();
    let text = String::from_utf8(out.text.lock().unwrap().clone()).unwrap();
    let ids: Vec<String> = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["request_id"].as_str().unwrap().to_owned())
        .collect();
    assert!(ids.iter().eq(&(0..100).map(|n| format!("00000007-{n:x}")).collect::<Vec<_>>()), "{ids:?}");
    assert_eq!(outside.0.lock().unwrap().len(), 2, "once when it fails, once when it is well again");
}

#[test]
fn a_full_queue_makes_requests_wait() {
    let out = Slow::default();
    out.failures.store(usize::MAX, Ordering::SeqCst);
    let (audit, _thread) = Audit::start(Box::new(out), Arc::new(Silent::default())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let within = Duration::from_millis(500);
        // As many as are being written, and as many as wait for it.
        for number in 0..2 * SERVER_AUDIT_QUEUE as u64 {
            match tokio::time::timeout(within, audit.reserve()).await {
                Ok(place) => place.unwrap().send(entry(number)),
                Err(_) => return,
            }
        }
        assert!(tokio::time::timeout(within, audit.reserve()).await.is_err(), "there is no end to the queue");
    });
    assert!(!audit.is_well());
}
