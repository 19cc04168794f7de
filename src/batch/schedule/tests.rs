use std::sync::atomic::{AtomicU64, AtomicUsize};

use proptest::prelude::*;

use super::*;

/// Packages nothing, and notes what it is told to do.
struct Fake<F> {
    act: F,
    begun: Mutex<Vec<(String, usize)>>,
    running: AtomicUsize,
    memory: AtomicU64,
    threads: AtomicUsize,
    most: Mutex<(usize, u64, usize)>,
    ended: Mutex<Vec<(String, Option<Class>, u32)>>,
    waits: Mutex<Vec<Duration>>,
    left: Mutex<Vec<String>>,
}

impl<F: Fn(&Title, usize) -> Result<(), Class> + Sync> Fake<F> {
    fn new(act: F) -> Self {
        Self {
            act,
            begun: Mutex::default(),
            running: AtomicUsize::new(0),
            memory: AtomicU64::new(0),
            threads: AtomicUsize::new(0),
            most: Mutex::default(),
            ended: Mutex::default(),
            waits: Mutex::default(),
            left: Mutex::default(),
        }
    }

    fn times(&self, id: &str) -> usize {
        self.begun.lock().unwrap().iter().filter(|(begun, _)| begun == id).count()
    }
}

impl<F: Fn(&Title, usize) -> Result<(), Class> + Sync> Packager for Fake<F> {
    type Done = ();
    type Failure = Class;

    fn package(&self, title: &Title, share: Share, _: usize) -> Result<(), Class> {
        self.begun.lock().unwrap().push((title.content_id.clone(), share.threads));
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        let memory = self.memory.fetch_add(title.memory, Ordering::SeqCst) + title.memory;
        let threads = self.threads.fetch_add(share.threads, Ordering::SeqCst) + share.threads;
        {
            let mut most = self.most.lock().unwrap();
            *most = (most.0.max(running), if running > 1 { most.1.max(memory) } else { most.1 }, most.2.max(threads));
        }
        let times = self.times(&title.content_id);
        let result = catch_unwind(AssertUnwindSafe(|| (self.act)(title, times)));
        self.running.fetch_sub(1, Ordering::SeqCst);
        self.memory.fetch_sub(title.memory, Ordering::SeqCst);
        self.threads.fetch_sub(share.threads, Ordering::SeqCst);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn class(&self, failure: &Class) -> Class {
        *failure
    }

    fn panicked(&self) -> Class {
        Class::Permanent
    }
}

impl<F: Fn(&Title, usize) -> Result<(), Class> + Sync> Watcher<Fake<F>> for Fake<F> {
    fn begins(&self, _: &Title, _: usize) {}

    fn waits(&self, _: &Title, _: &Class, wait: Duration, _: usize) {
        self.waits.lock().unwrap().push(wait);
    }

    fn ends(&self, title: &Title, ended: &Ended<Self>, _: usize) {
        self.ended.lock().unwrap().push((title.content_id.clone(), ended.result.err(), ended.attempts));
    }

    fn leaves(&self, title: &Title) {
        self.left.lock().unwrap().push(title.content_id.clone());
    }
}

fn titles(sizes: &[Option<u64>]) -> Vec<Title> {
    let title = |(number, bytes): (usize, &Option<u64>)| Title {
        line: number as u64 + 1,
        content_id: format!("t{number}"),
        out: format!("out/{number}"),
        bytes: *bytes,
        memory: 10,
        json: String::new(),
    };
    sizes.iter().enumerate().map(title).collect()
}

fn limits(at_once: usize, threads: usize, memory: u64) -> Limits {
    Limits { at_once, threads, memory, retries: 3, first_wait: Duration::from_millis(1) }
}

fn go<F: Fn(&Title, usize) -> Result<(), Class> + Sync>(titles: Vec<Title>, limits: &Limits, fake: &Fake<F>) -> Tally {
    run(titles, limits, fake, fake, &AtomicBool::new(false))
}

#[test]
fn the_largest_begin_first_and_the_unknown_before_them() {
    let fake = Fake::new(|_, _| Ok(()));
    let tally = go(titles(&[Some(1), Some(30), None, Some(20), None]), &limits(1, 2, 100), &fake);
    let begun: Vec<_> = fake.begun.lock().unwrap().iter().map(|(id, _)| id.clone()).collect();
    assert_eq!(begun, ["t2", "t4", "t1", "t3", "t0"]);
    assert_eq!(tally, Tally { done: 5, ..Tally::default() });
}

#[test]
fn a_title_alone_has_all_threads_and_several_share_them() {
    let fake = Fake::new(|_, _| Ok(()));
    go(titles(&[Some(1)]), &limits(4, 8, 100), &fake);
    assert_eq!(fake.begun.lock().unwrap().as_slice(), [("t0".to_owned(), 8)]);
    let fake = Fake::new(|_, _| {
        thread::sleep(Duration::from_millis(5));
        Ok(())
    });
    go(titles(&[Some(1); 12]), &limits(4, 8, 100), &fake);
    let begun = fake.begun.lock().unwrap();
    assert!(begun.iter().take(8).all(|(_, threads)| *threads == 2), "{begun:?}");
}

/// Titles that would rather all run at once: two fit, and each of those has half of the threads.
#[test]
fn no_more_run_than_memory_lets() {
    let fake = Fake::new(|_, _| {
        thread::sleep(Duration::from_millis(20));
        Ok(())
    });
    go(titles(&[Some(1); 8]), &limits(4, 8, 25), &fake);
    assert_eq!(*fake.most.lock().unwrap(), (2, 20, 8));
    // What is larger than all runs, alone and with all threads.
    let fake = Fake::new(|_, _| {
        thread::sleep(Duration::from_millis(5));
        Ok(())
    });
    go(titles(&[Some(1); 3]), &limits(4, 8, 5), &fake);
    assert_eq!(*fake.most.lock().unwrap(), (1, 0, 8));
}

#[test]
fn what_may_pass_is_tried_again_and_what_will_not_is_not() {
    let fake = Fake::new(|title, times| match title.content_id.as_str() {
        "t0" => Err(Class::Permanent),
        "t1" if times < 3 => Err(Class::Transient),
        "t2" => Err(Class::Transient),
        "t3" => panic!("as a bug would"),
        _ => Ok(()),
    });
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let tally = go(titles(&[Some(1); 6]), &limits(2, 2, 100), &fake);
    std::panic::set_hook(hook);
    assert_eq!(tally, Tally { done: 3, permanent: 2, transient: 1, interrupted: 0 });
    let mut ended = fake.ended.lock().unwrap().clone();
    ended.sort();
    let of = |class, attempts| (class, attempts);
    let wanted = [
        of(Some(Class::Permanent), 1),
        of(None, 3),
        of(Some(Class::Transient), 4),
        of(Some(Class::Permanent), 1),
        of(None, 1),
        of(None, 1),
    ];
    assert_eq!(ended.iter().map(|(_, class, attempts)| (*class, *attempts)).collect::<Vec<_>>(), wanted);
    assert_eq!(fake.waits.lock().unwrap().len(), 5);
}

#[test]
fn waits_grow_to_a_bound() {
    let (state, changed, cancel) = (Mutex::default(), Condvar::new(), AtomicBool::new(false));
    let limits = Limits { first_wait: Duration::from_secs(1), ..limits(1, 1, 1) };
    let crew = Crew { limits: &limits, state: &state, changed: &changed, cancel: &cancel };
    let title = &titles(&[None])[0];
    let waits: Vec<_> = [1, 2, 3, 20, u32::MAX].map(|attempts| crew.wait(attempts, title)).into();
    for (wait, most) in waits.iter().zip([1, 2, 4, 60, 60].map(Duration::from_secs)) {
        assert!(*wait <= most && *wait >= most.mul_f64(0.75), "{wait:?} of {most:?}");
    }
}

#[test]
fn a_run_that_is_stopped_tells_what_it_leaves() {
    let cancel = AtomicBool::new(false);
    let fake = Fake::new(|title, _| {
        if title.content_id == "t1" {
            cancel.store(true, Ordering::SeqCst);
            return Err(Class::Interrupted);
        }
        Ok(())
    });
    let tally = run(titles(&[Some(5), Some(4), Some(3), Some(2)]), &limits(1, 1, 100), &fake, &fake, &cancel);
    assert_eq!(tally, Tally { done: 1, interrupted: 3, ..Tally::default() });
    assert_eq!(*fake.left.lock().unwrap(), ["t2", "t3"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn the_budget_holds_and_everyone_ends(
        sizes in proptest::collection::vec(proptest::option::of(0..1000u64), 0..40),
        at_once in 1..6usize, threads in 1..9usize, memory in 0..60u64, bad in 0..8usize,
    ) {
        let fake = Fake::new(|title, times| match title.line as usize % 8 {
            number if number == bad => Err(Class::Permanent),
            number if number == bad + 1 && times < 3 => Err(Class::Transient),
            _ => Ok(()),
        });
        let tally = go(titles(&sizes), &limits(at_once, threads, memory), &fake);
        prop_assert_eq!(tally.done + tally.permanent, sizes.len() as u64);
        prop_assert_eq!(fake.ended.lock().unwrap().len(), sizes.len());
        let most = *fake.most.lock().unwrap();
        prop_assert!(most.0 <= at_once && most.1 <= memory && most.2 <= threads.max(at_once), "{:?}", most);
    }
}
