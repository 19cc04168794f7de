//! The end of a server that is being asked: nobody's request is lost.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::harness::{FILM_KEY, KEY, signed_key, start_authorized};
use crate::server::Control;

/// One answer on a connection that goes on; whether the server has said that it is the last.
fn answer(stream: &mut BufReader<TcpStream>) -> Result<bool, String> {
    let mut line = String::new();
    let mut length = 0;
    let mut is_last = false;
    stream.read_line(&mut line).map_err(|error| error.to_string())?;
    if !line.starts_with("HTTP/1.1 200 ") {
        return Err(format!("{line:?} instead of an answer"));
    }
    loop {
        line.clear();
        stream.read_line(&mut line).map_err(|error| error.to_string())?;
        let field = line.trim_end().to_ascii_lowercase();
        match field.split_once(": ") {
            Some(("content-length", value)) => length = value.parse().map_err(|_| field.clone())?,
            Some(("connection", "close")) => is_last = true,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).map_err(|error| error.to_string())?;
    if body == KEY { Ok(is_last) } else { Err("another body".to_owned()) }
}

#[test]
fn no_request_fails_while_it_drains() {
    let mut server = start_authorized(|config| {
        config.shutdown.delay = Duration::from_millis(600);
        (config.limits.client_rate, config.limits.subject_rate) = (0, 0);
    });
    let request = format!("GET {} HTTP/1.1\r\nHost: a\r\n\r\n", signed_key(FILM_KEY, "film", 600));
    let (answered, is_out) = (AtomicUsize::new(0), AtomicBool::new(false));
    let addr = server.addr;
    std::thread::scope(|scope| {
        // A load balancer: takes the server out when it is not ready any more.
        scope.spawn(|| {
            while !is_out.load(Ordering::SeqCst) {
                let mut stream = TcpStream::connect(addr).expect("it listens until it is out");
                stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("a request");
                let mut text = String::new();
                stream.read_to_string(&mut text).expect("an answer");
                is_out.store(text.starts_with("HTTP/1.1 503 "), Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        for _ in 0..8 {
            scope.spawn(|| {
                while !is_out.load(Ordering::SeqCst) {
                    let mut stream = BufReader::new(TcpStream::connect(addr).expect("it listens until it is out"));
                    loop {
                        stream.get_mut().write_all(request.as_bytes()).expect("a request is taken");
                        let is_last = answer(&mut stream).expect("every request is answered");
                        answered.fetch_add(1, Ordering::SeqCst);
                        if is_last || is_out.load(Ordering::SeqCst) {
                            break;
                        }
                    }
                }
            });
        }
        std::thread::sleep(Duration::from_millis(300));
        server.control.send(Control::Stop).unwrap();
    });
    let begun = Instant::now();
    server.stop().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    let count = answered.load(Ordering::SeqCst);
    assert!(count > 100, "{count} answers");
    let lines = server.world.audit.lock().unwrap().iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines, count, "a line for every answer, the last ones too");
}

#[test]
fn it_takes_connections_while_it_drains_and_says_that_it_is_not_ready() {
    let mut server = start_authorized(|config| config.shutdown.delay = Duration::from_secs(2));
    assert_eq!(server.get("/readyz").status, 200);
    server.control.send(Control::Stop).unwrap();
    server.wait_for("stopping");
    server.get("/readyz").assert_problem(503, "draining");
    let key = server.get(&signed_key(FILM_KEY, "film", 60));
    assert_eq!((key.status, key.field("connection")), (200, "close"));
    assert_eq!(server.get("/livez").status, 200);
    server.stop().unwrap();
    assert!(TcpStream::connect(server.addr).is_err());
}

#[test]
fn a_reload_that_hangs_loses_no_line_at_the_end() {
    let mut server = start_authorized(|_| {});
    let world = Arc::clone(&server.world);
    let settings = world.next.lock().unwrap();
    server.control.send(Control::Reload).unwrap();
    world.is_full.store(true, Ordering::SeqCst);
    assert_eq!(server.get(&signed_key(FILM_KEY, "film", 60)).status, 200);
    server.wait_for("the audit log cannot be written");
    let freed = Arc::clone(&world);
    let cleared = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        freed.is_full.store(false, Ordering::SeqCst);
    });
    server.stop().unwrap();
    // Already, not soon: the process would be gone.
    let log = String::from_utf8(world.audit.lock().unwrap().clone()).unwrap();
    assert!(log.contains("\"given\""), "{log}");
    cleared.join().unwrap();
    drop(settings);
}

#[test]
fn silent_connections_do_not_hold_up_the_end() {
    let mut server = start_authorized(|config| config.shutdown.deadline = Duration::from_secs(10));
    let silent: Vec<_> = (0..3).map(|_| server.connect()).collect();
    assert_eq!(server.get("/livez").status, 200);
    let begun = Instant::now();
    server.stop().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(!server.world.notices.lock().unwrap().iter().any(|notice| notice.contains("cut off")));
    drop(silent);
}
