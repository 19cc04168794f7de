//! A store and provider that do as they are told.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::crypto::key::ContentKey;
use crate::keys::{Ciphertext, ContentId, EncryptionContext, KeyId, SealedKey};
use crate::server::vault::{Open, Settings, Stage, Trouble, Vault};

/// How a stage does its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Well,
    Fails,
    Refuses,
    Panics,
}

/// The first 16 bytes of a ciphertext are its key.
pub struct Fake {
    stored: Mutex<HashMap<KeyId, SealedKey>>,
    secret: Mutex<Option<KeyId>>,
    moods: Mutex<(Mood, Mood)>,
    held: Mutex<bool>,
    released: Condvar,
    takes: Mutex<Duration>,
    incidents: Arc<Mutex<Vec<String>>>,
    pub reads: AtomicUsize,
    pub opens: AtomicUsize,
    pub under_way: AtomicUsize,
    pub most_under_way: AtomicUsize,
}

impl Fake {
    pub fn vault(settings: Settings) -> (Arc<Self>, Arc<Vault>) {
        let fake = Arc::new(Self {
            stored: Mutex::default(),
            secret: Mutex::default(),
            moods: Mutex::new((Mood::Well, Mood::Well)),
            held: Mutex::default(),
            released: Condvar::new(),
            takes: Mutex::default(),
            incidents: Arc::default(),
            reads: AtomicUsize::new(0),
            opens: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        });
        let told = Arc::clone(&fake.incidents);
        let vault = Vault::reporting(Arc::clone(&fake) as Arc<dyn Open>, settings, move |incident| {
            let (stage, kind) = (incident.stage.code(), incident.kind.code());
            told.lock().unwrap().push(format!("{} {stage} {kind}: {}", incident.key_id, incident.reason));
        });
        (fake, Arc::new(vault))
    }

    pub fn add(&self, content_id: &str) -> SealedKey {
        self.add_as(KeyId::generate().unwrap(), content_id)
    }

    pub fn add_as(&self, key_id: KeyId, content_id: &str) -> SealedKey {
        let content_id: ContentId = content_id.parse().unwrap();
        let mut blob = [0; 16];
        blob.copy_from_slice(ContentKey::generate().unwrap().expose());
        let sealed = Ciphertext { key: "kek".into(), blob: blob.to_vec() };
        let context = EncryptionContext::of_content(&content_id);
        let mut sealed = SealedKey::new(content_id, "local", context, sealed).unwrap();
        sealed.key_id = key_id;
        self.misfile(key_id, &sealed);
        sealed
    }

    /// A key that is made when it is opened, so that only who was given it has it.
    pub fn add_secret(&self) -> KeyId {
        let key_id = self.add("film").key_id;
        *self.secret.lock().unwrap() = Some(key_id);
        key_id
    }

    pub fn misfile(&self, key_id: KeyId, sealed: &SealedKey) {
        self.stored.lock().unwrap().insert(key_id, sealed.clone());
    }

    pub fn remove(&self, key_id: &KeyId) {
        self.stored.lock().unwrap().remove(key_id);
    }

    pub fn key_of(sealed: &SealedKey) -> [u8; 16] {
        sealed.ciphertext[..16].try_into().unwrap()
    }

    pub fn mood(&self, stage: Stage, mood: Mood) {
        let mut moods = self.moods.lock().unwrap();
        match stage {
            Stage::Read => moods.0 = mood,
            Stage::Open => moods.1 = mood,
        }
    }

    /// Calls come to no end until they are released.
    pub fn hold(&self) {
        *self.held.lock().unwrap() = true;
    }

    pub fn release(&self) {
        *self.held.lock().unwrap() = false;
        self.released.notify_all();
    }

    /// How long a call takes.
    pub fn take(&self, time: Duration) {
        *self.takes.lock().unwrap() = time;
    }

    pub fn incidents(&self) -> Vec<String> {
        self.incidents.lock().unwrap().clone()
    }

    fn work(&self, mood: Mood) -> Result<(), Trouble> {
        struct Leave<'a>(&'a AtomicUsize);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, SeqCst);
            }
        }
        let now = self.under_way.fetch_add(1, SeqCst) + 1;
        let _leave = Leave(&self.under_way);
        self.most_under_way.fetch_max(now, SeqCst);
        let takes = *self.takes.lock().unwrap();
        if !takes.is_zero() {
            std::thread::sleep(takes);
        }
        drop(self.released.wait_while(self.held.lock().unwrap(), |held| *held).unwrap());
        match mood {
            Mood::Well => Ok(()),
            Mood::Fails => Err(Trouble::passing("no answer")),
            Mood::Refuses => Err(Trouble::refused("no")),
            Mood::Panics => panic!("as the test wants it"),
        }
    }
}

impl Open for Fake {
    fn sealed(&self, key_id: &KeyId) -> Result<Option<SealedKey>, Trouble> {
        self.reads.fetch_add(1, SeqCst);
        let (found, mood) = (self.stored.lock().unwrap().get(key_id).cloned(), self.moods.lock().unwrap().0);
        self.work(mood).map(|()| found)
    }

    fn unseal(&self, sealed: &SealedKey) -> Result<ContentKey, Trouble> {
        self.opens.fetch_add(1, SeqCst);
        let mood = self.moods.lock().unwrap().1;
        self.work(mood)?;
        if *self.secret.lock().unwrap() == Some(sealed.key_id) {
            return Ok(ContentKey::generate().unwrap());
        }
        Ok(ContentKey::from_bytes(&mut Self::key_of(sealed)))
    }
}

/// Waits until it is so; fails when it is not so in a long time.
pub async fn eventually(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(30), "it does not come to that");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// How often bytes are in this process's writable memory; they are given masked, so that the search does not find itself.
pub fn found_in_memory(masked: &[u8]) -> usize {
    let memory = File::open("/proc/self/mem").unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut buffer = vec![0_u8; 1 << 20];
    let own = buffer.as_ptr() as u64;
    let mut found = 0;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let range = line.split(' ').next().unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let (start, end) = (u64::from_str_radix(start, 16).unwrap(), u64::from_str_radix(end, 16).unwrap());
        let mut at = start;
        while at < end {
            let want = buffer.len().min(usize::try_from(end - at).unwrap());
            let Ok(count) = memory.read_at(&mut buffer[..want], at) else { break };
            if count == 0 {
                break;
            }
            for (place, window) in buffer[..count].windows(masked.len()).enumerate() {
                let address = at + place as u64;
                let inside = (own..own + (1 << 20)).contains(&address);
                if !inside && window.iter().zip(masked).all(|(byte, masked)| byte ^ 0xa5 == *masked) {
                    found += 1;
                }
            }
            // Blocks overlap, so that nothing lies unseen between two; a match in the overlap may be counted twice.
            at += if count > 64 { (count - 32) as u64 } else { count as u64 };
        }
    }
    found
}
