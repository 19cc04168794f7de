//! The vault with a scripted store and provider, where every race can be held open, and with real ones.

mod fake;
#[cfg(feature = "aws")]
mod real;
mod stress;

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use super::*;
use fake::{Fake, Mood, eventually};

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Lives long enough for a busy machine, and waits long enough.
fn settings() -> Settings {
    Settings { life: Duration::from_secs(60), wait: Duration::from_secs(30), ..Settings::default() }
}

async fn record(vault: &Vault, key_id: &KeyId) -> Arc<Record> {
    vault.record(key_id).await.unwrap().expect("a record")
}

async fn key(vault: &Vault, key_id: &KeyId) -> Result<Held, Unavailable> {
    vault.key(&record(vault, key_id).await).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_tells_what_the_key_is_for_and_opens() {
    let (fake, vault) = Fake::vault(settings());
    let sealed = fake.add("film");
    let found = record(&vault, &sealed.key_id).await;
    assert_eq!((found.key_id, &found.content_id), (sealed.key_id, &sealed.content_id));
    assert_eq!(fake.opens.load(SeqCst), 0, "nothing is opened before it was decided who may have it");
    let held = vault.key(&found).await.unwrap();
    assert_eq!(*held, Fake::key_of(&sealed));
    assert_eq!(held.as_ref(), Fake::key_of(&sealed));
    assert_eq!(format!("{held:?}"), "Held(..)");
    for _ in 0..10 {
        assert_eq!(*key(&vault, &sealed.key_id).await.unwrap(), Fake::key_of(&sealed));
    }
    assert_eq!((fake.reads.load(SeqCst), fake.opens.load(SeqCst)), (1, 1));
    let counts = vault.counts();
    assert_eq!((counts.hits, counts.misses, counts.read, counts.opened), (10, 1, 1, 1));
    assert_eq!((counts.records, counts.keys, counts.waiting), (1, 1, 0));
    assert!(vault.ready());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_who_ask_at_once_make_one_call() {
    let (fake, vault) = Fake::vault(settings());
    let sealed = fake.add("film");
    let found = record(&vault, &sealed.key_id).await;
    fake.hold();
    let askers: Vec<_> = (0..1000)
        .map(|_| {
            let (vault, found) = (Arc::clone(&vault), Arc::clone(&found));
            tokio::spawn(async move { vault.key(&found).await })
        })
        .collect();
    eventually(|| vault.counts().waiting == 1000).await;
    fake.release();
    for asker in askers {
        assert_eq!(*asker.await.unwrap().unwrap(), Fake::key_of(&sealed));
    }
    assert_eq!(fake.opens.load(SeqCst), 1);
    assert_eq!(vault.counts().waiting, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_first_may_go_away() {
    let (fake, vault) = Fake::vault(settings());
    let sealed = fake.add("film");
    let found = record(&vault, &sealed.key_id).await;
    fake.hold();
    let ask = || {
        let (vault, found) = (Arc::clone(&vault), Arc::clone(&found));
        tokio::spawn(async move { vault.key(&found).await })
    };
    let first = ask();
    eventually(|| vault.counts().waiting == 1).await;
    let second = ask();
    eventually(|| vault.counts().waiting == 2).await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    eventually(|| vault.counts().waiting == 1).await;
    fake.release();
    assert_eq!(*second.await.unwrap().unwrap(), Fake::key_of(&sealed));
    // And if all go away, what was asked for is there for the next.
    vault.forget();
    fake.hold();
    let (first, second) = (ask(), ask());
    eventually(|| vault.counts().waiting == 2).await;
    first.abort();
    second.abort();
    eventually(|| vault.counts().waiting == 0).await;
    fake.release();
    eventually(|| fake.under_way.load(SeqCst) == 0).await;
    assert_eq!(*vault.key(&found).await.unwrap(), Fake::key_of(&sealed));
    assert_eq!(fake.opens.load(SeqCst), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_the_callers_trouble_and_takes_no_room() {
    let (fake, vault) = Fake::vault(Settings { calls: 2, ..settings() });
    let sealed = fake.add("film");
    for _ in 0..9 {
        let other = fake.add("film");
        let found = record(&vault, &other.key_id).await;
        fake.mood(Stage::Open, Mood::Panics);
        let askers: Vec<_> = (0..5)
            .map(|_| {
                let (vault, found) = (Arc::clone(&vault), Arc::clone(&found));
                tokio::spawn(async move { vault.key(&found).await })
            })
            .collect();
        for asker in askers {
            assert_eq!(asker.await.unwrap().unwrap_err().kind, Kind::Internal);
        }
        fake.mood(Stage::Open, Mood::Well);
    }
    assert_eq!(*key(&vault, &sealed.key_id).await.unwrap(), Fake::key_of(&sealed));
    assert!(fake.incidents().iter().all(|said| said.ends_with("open internal: the call panicked")));
    // After its pause, the key that failed is opened as any.
    let failed = fake.add("film");
    fake.mood(Stage::Read, Mood::Panics);
    assert_eq!(vault.record(&failed.key_id).await.unwrap_err().kind, Kind::Internal);
    fake.mood(Stage::Read, Mood::Well);
    assert_eq!(vault.record(&failed.key_id).await.unwrap_err().kind, Kind::Internal, "left alone for a moment");
    tokio::time::sleep(limits::VAULT_FIRST_PAUSE).await;
    assert_eq!(*key(&vault, &failed.key_id).await.unwrap(), Fake::key_of(&failed));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_when_it_comes_is_given_to_those_who_waited_and_not_kept() {
    let (fake, vault) = Fake::vault(Settings {
        life: millis(40),
        stale_for: Duration::ZERO,
        wait: Duration::from_secs(30),
        ..settings()
    });
    let sealed = fake.add("film");
    fake.take(millis(80));
    let found = record(&vault, &sealed.key_id).await;
    assert_eq!(*vault.key(&found).await.unwrap(), Fake::key_of(&sealed));
    assert_eq!(*key(&vault, &sealed.key_id).await.unwrap(), Fake::key_of(&sealed));
    assert_eq!((fake.reads.load(SeqCst), fake.opens.load(SeqCst)), (2, 2), "each was asked for again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_for_one_key_serves_many() {
    let (fake, vault) = Fake::vault(Settings { capacity: 1, ..settings() });
    let (first, second) = (fake.add("a"), fake.add("b"));
    let held = key(&vault, &first.key_id).await.unwrap();
    let watch = held.watch();
    for _ in 0..5 {
        for sealed in [&first, &second] {
            assert_eq!(*key(&vault, &sealed.key_id).await.unwrap(), Fake::key_of(sealed));
        }
    }
    assert_eq!((vault.counts().keys, vault.counts().records), (1, 1));
    assert!(watch.upgrade().is_some(), "who holds a key keeps it");
    drop(held);
    assert!(watch.upgrade().is_none(), "the last holder wipes it");
}

/// Wiping is done by `ContentKey`; here, that no copy was made on the way: the process is searched for the key's bytes.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_nobody_holds_is_nowhere_in_memory() {
    let (fake, vault) = Fake::vault(Settings { stale_for: Duration::ZERO, ..settings() });
    let key_id = fake.add_secret();
    let held = key(&vault, &key_id).await.unwrap();
    let masked: Vec<u8> = held.iter().map(|byte| byte ^ 0xa5).collect();
    assert!(fake::found_in_memory(&masked) > 0, "the search finds what is there");
    vault.forget();
    drop(held);
    assert_eq!(fake::found_in_memory(&masked), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_calls_do_not_pile_up() {
    let (fake, vault) = Fake::vault(Settings { calls: 4, wait: millis(100), ..settings() });
    let sealed: Vec<_> = (0..200).map(|_| fake.add("film")).collect();
    let known = key(&vault, &sealed[0].key_id).await.unwrap();
    fake.hold();
    let began = Instant::now();
    let askers: Vec<_> = sealed[1..]
        .iter()
        .map(|sealed| {
            let (vault, key_id) = (Arc::clone(&vault), sealed.key_id);
            tokio::spawn(async move { vault.record(&key_id).await })
        })
        .collect();
    for asker in askers {
        let unavailable = asker.await.unwrap().unwrap_err();
        assert!(matches!(unavailable.kind, Kind::Slow | Kind::Busy), "{unavailable:?}");
        assert!(unavailable.retry_after >= Duration::from_secs(1) && !unavailable.is_refusal());
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(fake.most_under_way.load(SeqCst), 4);
    assert!(!vault.ready());
    assert_eq!(*key(&vault, &sealed[0].key_id).await.unwrap(), *known, "what is in memory is given all the while");
    fake.release();
    eventually(|| fake.under_way.load(SeqCst) == 0).await;
    tokio::time::sleep(limits::VAULT_FIRST_PAUSE * 2).await;
    for sealed in &sealed {
        assert_eq!(*key(&vault, &sealed.key_id).await.unwrap(), Fake::key_of(sealed));
    }
    assert!(vault.ready());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_there_without_a_restart() {
    let (fake, vault) = Fake::vault(Settings { negative_life: millis(300), ..settings() });
    let key_id = KeyId::generate().unwrap();
    for _ in 0..100 {
        assert!(vault.record(&key_id).await.unwrap().is_none());
    }
    assert!(fake.reads.load(SeqCst) <= 3, "what is not there is remembered for a while");
    let sealed = fake.add_as(key_id, "film");
    tokio::time::sleep(millis(310)).await;
    assert_eq!(*key(&vault, &key_id).await.unwrap(), Fake::key_of(&sealed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_deleted_is_given_for_a_life_at_most_and_no_longer_than_to_a_signal() {
    let (fake, vault) = Fake::vault(Settings { life: millis(400), ..settings() });
    let sealed = fake.add("film");
    key(&vault, &sealed.key_id).await.unwrap();
    fake.remove(&sealed.key_id);
    let removed = Instant::now();
    while vault.record(&sealed.key_id).await.unwrap().is_some() {
        assert!(removed.elapsed() < millis(400) + Duration::from_secs(2), "it is still given");
        tokio::time::sleep(millis(5)).await;
    }
    let (fake, vault) = Fake::vault(settings());
    let sealed = fake.add("film");
    key(&vault, &sealed.key_id).await.unwrap();
    fake.remove(&sealed.key_id);
    assert!(vault.record(&sealed.key_id).await.unwrap().is_some());
    vault.forget();
    assert!(vault.record(&sealed.key_id).await.unwrap().is_none());
}

/// A call that began before the signal may bring what was so before: it must not be kept.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_under_way_at_a_signal_is_not_kept() {
    let (fake, vault) = Fake::vault(settings());
    let sealed = fake.add("film");
    fake.hold();
    let early = {
        let (vault, key_id) = (Arc::clone(&vault), sealed.key_id);
        tokio::spawn(async move { vault.record(&key_id).await })
    };
    eventually(|| fake.under_way.load(SeqCst) == 1).await;
    fake.remove(&sealed.key_id);
    vault.forget();
    // The early one lands first, while the late one is under way.
    fake.take(millis(200));
    let late = {
        let (vault, key_id) = (Arc::clone(&vault), sealed.key_id);
        tokio::spawn(async move { vault.record(&key_id).await })
    };
    eventually(|| fake.under_way.load(SeqCst) == 2).await;
    fake.release();
    assert!(early.await.unwrap().unwrap().is_some(), "the fake has read it before it holds");
    assert!(late.await.unwrap().unwrap().is_none());
    assert!(vault.record(&sealed.key_id).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_of_another_key_is_refused() {
    let (fake, vault) = Fake::vault(settings());
    let (sealed, other) = (fake.add("film"), KeyId::generate().unwrap());
    fake.misfile(other, &sealed);
    for _ in 0..3 {
        assert!(vault.record(&other).await.unwrap_err().is_refusal());
    }
    // It is told beside the answer, not before it.
    eventually(|| !fake.incidents().is_empty()).await;
    let reason = format!("{other} read refused: key {other} has the record of key {}", sealed.key_id);
    assert_eq!(fake.incidents(), [reason], "told once, not for every viewer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_was_replaced_is_not_opened_as_the_old_one() {
    for stale_for in [Duration::ZERO, Duration::from_secs(600)] {
        let (fake, vault) = Fake::vault(Settings { life: millis(100), stale_for, ..settings() });
        let sealed = fake.add("film");
        let old = record(&vault, &sealed.key_id).await;
        vault.key(&old).await.unwrap();
        // Someone gives the id to other content, while a viewer of the old one is being answered.
        let new = fake.add_as(sealed.key_id, "other");
        tokio::time::sleep(millis(110)).await;
        assert_eq!(vault.key(&old).await.unwrap_err().kind, Kind::Changed, "{stale_for:?}");
        let found = record(&vault, &sealed.key_id).await;
        assert_eq!(found.content_id, new.content_id);
        assert_eq!(*vault.key(&found).await.unwrap(), Fake::key_of(&new));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_refuses_is_refused_and_told_once() {
    let (fake, vault) = Fake::vault(Settings { negative_life: millis(200), ..settings() });
    let sealed = fake.add("film");
    fake.mood(Stage::Open, Mood::Refuses);
    for _ in 0..50 {
        assert!(key(&vault, &sealed.key_id).await.unwrap_err().is_refusal());
    }
    assert!(fake.opens.load(SeqCst) <= 3);
    // It is told beside the answer, not before it.
    eventually(|| !fake.incidents().is_empty()).await;
    assert_eq!(fake.incidents()[0], format!("{} open refused: no", sealed.key_id));
    assert!(vault.ready(), "a key that is refused is no trouble of the server's");
    fake.mood(Stage::Open, Mood::Well);
    tokio::time::sleep(millis(210)).await;
    assert_eq!(*key(&vault, &sealed.key_id).await.unwrap(), Fake::key_of(&sealed));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_open_is_given_while_store_or_provider_fails() {
    for stage in [Stage::Read, Stage::Open] {
        let (fake, vault) = Fake::vault(Settings { life: millis(50), ..settings() });
        let (sealed, cold) = (fake.add("film"), fake.add("film"));
        key(&vault, &sealed.key_id).await.unwrap();
        fake.mood(stage, Mood::Fails);
        let until = Instant::now() + millis(400);
        while Instant::now() < until {
            assert_eq!(*key(&vault, &sealed.key_id).await.unwrap(), Fake::key_of(&sealed));
            tokio::time::sleep(millis(5)).await;
        }
        assert!(vault.counts().stale > 10 && vault.counts().failed > 0);
        // A signal has it tried again, and what cannot be had is given all the same.
        vault.forget();
        assert_eq!(*key(&vault, &sealed.key_id).await.unwrap(), Fake::key_of(&sealed));
        let asked = match vault.record(&cold.key_id).await {
            Ok(Some(found)) => vault.key(&found).await.map(drop),
            other => other.map(drop),
        };
        assert_eq!(asked.unwrap_err().kind, Kind::Unreachable);
        assert!(!vault.ready());
        // A refusal ends it at once.
        fake.mood(stage, Mood::Refuses);
        let refused = async {
            match vault.record(&sealed.key_id).await {
                Ok(Some(found)) => vault.key(&found).await.err(),
                other => other.err(),
            }
        };
        let began = Instant::now();
        let mut refused = Some(refused.await);
        while refused.flatten().is_none_or(|unavailable| !unavailable.is_refusal()) {
            assert!(began.elapsed() < Duration::from_secs(20), "it is still given");
            tokio::time::sleep(millis(20)).await;
            refused = Some(match vault.record(&sealed.key_id).await {
                Ok(Some(found)) => vault.key(&found).await.err(),
                other => other.err(),
            });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_first_viewer_waits_for_a_provider_that_hangs() {
    let (fake, vault) = Fake::vault(Settings { life: millis(50), wait: millis(200), ..settings() });
    let sealed = fake.add("film");
    key(&vault, &sealed.key_id).await.unwrap();
    tokio::time::sleep(millis(60)).await;
    fake.hold();
    let began = Instant::now();
    assert_eq!(*key(&vault, &sealed.key_id).await.unwrap(), Fake::key_of(&sealed));
    assert!(began.elapsed() >= millis(200));
    let began = Instant::now();
    for _ in 0..1000 {
        assert_eq!(*key(&vault, &sealed.key_id).await.unwrap(), Fake::key_of(&sealed));
    }
    assert!(began.elapsed() < millis(400), "{:?}", began.elapsed());
    fake.release();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_renewed_before_its_life_is_over() {
    let (fake, vault) = Fake::vault(Settings { life: millis(1000), ..settings() });
    let sealed = fake.add("film");
    key(&vault, &sealed.key_id).await.unwrap();
    let until = Instant::now() + millis(3000);
    while Instant::now() < until {
        key(&vault, &sealed.key_id).await.unwrap();
        tokio::time::sleep(millis(5)).await;
    }
    assert!(fake.opens.load(SeqCst) >= 3, "{}", fake.opens.load(SeqCst));
    assert_eq!(vault.counts().misses, 1, "nobody had to wait but the first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_takes_as_long_whether_there_is_such_a_key_or_not() {
    let (fake, vault) = Fake::vault(settings());
    let sealed = fake.add("film");
    fake.take(millis(20));
    record(&vault, &sealed.key_id).await;
    // One is in memory, the other has to be looked for; the viewer may have neither.
    let refuse = async |key_id: KeyId| {
        let arrived = Instant::now();
        let _ = vault.record(&key_id).await;
        vault.before_refusal(arrived).await;
        arrived.elapsed()
    };
    let (mut known, mut unknown) = (Vec::new(), Vec::new());
    for _ in 0..15 {
        known.push(refuse(sealed.key_id).await);
        unknown.push(refuse(KeyId::generate().unwrap()).await);
    }
    known.sort();
    unknown.sort();
    let (known, unknown) = (known[7], unknown[7]);
    assert!(known.abs_diff(unknown) < millis(8), "{known:?} {unknown:?}");
    assert!(known > millis(30), "{known:?}");
    assert_eq!(fake.opens.load(SeqCst), 0, "nothing is opened for who may not have it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_changes_its_mind_as_often_as_it_likes() {
    let (fake, vault) = Fake::vault(Settings { negative_life: Duration::ZERO, life: Duration::ZERO, ..settings() });
    let sealed = fake.add("film");
    for _ in 0..20 {
        assert_eq!(*key(&vault, &sealed.key_id).await.unwrap(), Fake::key_of(&sealed));
        fake.remove(&sealed.key_id);
        assert!(vault.record(&sealed.key_id).await.unwrap().is_none());
        fake.misfile(sealed.key_id, &sealed);
    }
}
