//! Many tasks and every kind of trouble at once, and how fast it is when there is none.

use std::sync::atomic::AtomicU64;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

/// Whatever happens: nobody is given another's key, nobody waits for ever, no more calls are under way than may be, and when
/// all is well again everything can be had.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_viewers_in_every_kind_of_trouble() {
    let settings = Settings {
        life: millis(5),
        negative_life: millis(2),
        stale_for: millis(20),
        wait: millis(20),
        capacity: 8,
        calls: 3,
    };
    let (fake, vault) = Fake::vault(settings);
    let sealed: Arc<Vec<_>> = Arc::new((0..24).map(|at| fake.add(&format!("film-{at}"))).collect());
    let given = Arc::new(AtomicU64::new(0));
    let until = Instant::now() + millis(1500);
    let mut tasks = Vec::new();
    for seed in 0..64 {
        let (vault, sealed, given) = (Arc::clone(&vault), Arc::clone(&sealed), Arc::clone(&given));
        tasks.push(tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(seed);
            while Instant::now() < until {
                let wanted = &sealed[random.random_range(0..sealed.len())];
                let asked = async {
                    let Some(found) = vault.record(&wanted.key_id).await? else { return Ok(None) };
                    assert_eq!(found.content_id, wanted.content_id);
                    vault.key(&found).await.map(Some)
                };
                // Some viewers go away.
                let patience = millis(random.random_range(0..30));
                if let Ok(Ok(Some(held))) = tokio::time::timeout(patience, asked).await {
                    let _: &Unavailable = &Unavailable { retry_after: patience, kind: Kind::Busy };
                    assert_eq!(*held, Fake::key_of(wanted));
                    given.fetch_add(1, SeqCst);
                }
                tokio::task::yield_now().await;
            }
        }));
    }
    let mut random = StdRng::seed_from_u64(99);
    while Instant::now() < until {
        let stage = if random.random_bool(0.5) { Stage::Read } else { Stage::Open };
        match random.random_range(0..8) {
            0 => fake.mood(stage, Mood::Fails),
            1 => fake.mood(stage, Mood::Refuses),
            2 => fake.mood(stage, Mood::Panics),
            3 => vault.forget(),
            4 => fake.remove(&sealed[random.random_range(0..sealed.len())].key_id),
            5 => fake.hold(),
            _ => {
                fake.release();
                fake.mood(Stage::Read, Mood::Well);
                fake.mood(Stage::Open, Mood::Well);
                sealed.iter().for_each(|sealed| fake.misfile(sealed.key_id, sealed));
            }
        }
        tokio::time::sleep(millis(random.random_range(1..8))).await;
    }
    fake.release();
    fake.mood(Stage::Read, Mood::Well);
    fake.mood(Stage::Open, Mood::Well);
    for task in tasks {
        task.await.unwrap();
    }
    eventually(|| vault.counts().waiting == 0 && fake.under_way.load(SeqCst) == 0).await;
    assert!(given.load(SeqCst) > 100, "{} given", given.load(SeqCst));
    assert!(fake.most_under_way.load(SeqCst) <= 6, "three of each stage");
    assert!(vault.counts().keys <= 8 && vault.counts().records <= 8);
    for sealed in sealed.iter() {
        fake.misfile(sealed.key_id, sealed);
        let began = Instant::now();
        let held = loop {
            match vault.record(&sealed.key_id).await {
                Ok(Some(found)) => match vault.key(&found).await {
                    Ok(held) => break held,
                    Err(_) => tokio::time::sleep(millis(20)).await,
                },
                _ => tokio::time::sleep(millis(20)).await,
            }
            assert!(began.elapsed() < Duration::from_secs(20), "it does not come back");
        };
        assert_eq!(*held, Fake::key_of(sealed));
    }
}

/// However often it is asked for. How fast that is, `scripts/load` shows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_memory_is_opened_once() {
    let (fake, vault) = Fake::vault(settings());
    let sealed: Arc<Vec<_>> = Arc::new((0..1000).map(|_| fake.add("film")).collect());
    for sealed in sealed.iter() {
        key(&vault, &sealed.key_id).await.unwrap();
    }
    let tasks: Vec<_> = (0..2)
        .map(|_| {
            let (vault, sealed) = (Arc::clone(&vault), Arc::clone(&sealed));
            tokio::spawn(async move {
                for at in 0..10_000 {
                    let sealed = &sealed[at % sealed.len()];
                    let found = vault.record(&sealed.key_id).await.unwrap().unwrap();
                    assert_eq!(vault.key(&found).await.unwrap()[0], sealed.ciphertext[0]);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(fake.opens.load(SeqCst), 1000);
}
