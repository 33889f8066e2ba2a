//! One indexer at a time, where no kernel holds a lock: an object says who has the channel, and is written anew while
//! that run lives. Owns taking it, renewing it and giving it back, all by conditional writes; no clocks are compared: one
//! that is not renewed for its time, as whoever waits sees it, is taken over. It spares work; what protects the channel
//! are the conditions of each write.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::ObjectStorage;
use super::client::{Client, Expected, Put};
use super::engine::Engine;
use super::view::Seen;
use crate::shown::line;
use crate::storage::{LockMode, StorageError};

/// The object. It stays: taking it away could take away another's.
pub const LOCK: &str = ".sigindex.lock";

/// The most of it that is read, in bytes.
const MOST: usize = 4 << 10;

/// The most characters of a holder's name that are shown.
const MOST_SHOWN: usize = 200;

/// What stands in the object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Claim {
    /// Who holds it, for people; nobody where it is empty.
    holder: String,
    /// Which of all that ever held it.
    token: String,
    /// How often it was renewed.
    renewed: u64,
}

impl Claim {
    fn new() -> Claim {
        let random = RandomState::new();
        let words = [random.hash_one(1), random.hash_one(Instant::now())];
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy();
        Claim {
            holder: format!("process {} on {}", std::process::id(), host.escape_debug()),
            token: format!("{:016x}{:016x}", words[0], words[1]),
            renewed: 0,
        }
    }

    /// What cannot be read is somebody's all the same.
    fn read(bytes: &[u8]) -> Claim {
        let unknown = || Claim {
            holder: "a process that says nothing of itself".to_owned(),
            ..Claim::default()
        };
        serde_json::from_slice(bytes).unwrap_or_else(|_| unknown())
    }

    fn bytes(&self) -> Arc<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        Arc::new(bytes)
    }

    /// Who holds it, fit for one line: whoever may write the object may have written it.
    fn shown_holder(&self) -> String {
        let mut chars = self.holder.chars();
        let shown: String = chars.by_ref().take(MOST_SHOWN).collect();
        let cut = if chars.next().is_some() { "…" } else { "" };
        format!("{}{cut}", line(&shown))
    }

    fn is_free(&self) -> bool {
        self.holder.is_empty()
    }
}

/// The lease, held until this is dropped.
pub struct Lease {
    engine: Arc<Engine>,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
}

/// A lease that was taken, as long as it is held.
pub type Taken = Option<Weak<Shared>>;

/// What the one that renews it and the one that gives it back know.
pub struct Shared {
    client: Arc<Client>,
    held: Mutex<(Claim, Seen)>,
    is_lost: AtomicBool,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease({})", self.shared.client.place.shown(LOCK))
    }
}

impl ObjectStorage {
    /// Takes the channel's lease; it is renewed until the value is dropped. What was seen before is forgotten.
    ///
    /// # Errors
    /// When another run holds it (and `mode` doesn't wait), or the store does not know conditional writes.
    pub fn lock(&self, mode: LockMode) -> Result<Lease, StorageError> {
        let held = self.engine.block_on(take(&self.client, mode))?;
        let (stop, stopped) = watch::channel(false);
        let shared = Arc::new(Shared {
            client: Arc::clone(&self.client),
            held: Mutex::new(held),
            is_lost: AtomicBool::new(false),
        });
        let mut lease = Lease {
            engine: Arc::clone(&self.engine),
            shared,
            stop,
            task: None,
        };
        self.demand_conditions()?;
        // Another run may have published while this one waited.
        self.forget();
        let mut taken = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        *taken = Some(Arc::downgrade(&lease.shared));
        let renewing = Arc::clone(&lease.shared).renew(stopped);
        lease.task = Some(self.engine.spawn(renewing));
        Ok(lease)
    }

    /// Whether this run holds the channel's lease; `None` where it never took one.
    ///
    /// # Errors
    /// When the store does not say.
    pub(super) async fn is_leased(&self) -> Result<Option<bool>, StorageError> {
        let taken = || {
            let taken = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
            taken.as_ref().map(Weak::upgrade)
        };
        match taken() {
            None => Ok(None),
            Some(held) => match held {
                Some(shared) => shared.is_held().await.map(Some),
                None => Ok(Some(false)),
            },
        }
    }

    /// Makes sure, once, that the store does writes under their conditions or not at all.
    ///
    /// # Errors
    /// When it does not.
    pub(super) fn demand_conditions(&self) -> Result<(), StorageError> {
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        if *probed || self.client.options.unconditional {
            return Ok(());
        }
        self.engine.block_on(probe(&self.client))?;
        *probed = true;
        Ok(())
    }
}

/// Tries writes whose conditions do not hold.
async fn probe(client: &Client) -> Result<(), StorageError> {
    let unknown = || StorageError::Unconditional {
        path: client.place.shown(""),
    };
    let content = match client.read(LOCK, MOST).await? {
        Some((bytes, _)) => Arc::new(bytes),
        None => {
            let content = Claim::default().bytes();
            // Whether it was this run or another one, there is one now.
            client.put(LOCK, &content, &Expected::Nothing).await?;
            content
        }
    };
    let other = Seen {
        etag: Some("\"00000000000000000000000000000000\"".into()),
        version: Some("1".into()),
        size: 0,
        written: None,
    };
    for expected in [Expected::Nothing, Expected::This(other)] {
        if !client.is_refused(LOCK, &content, &expected).await? {
            return Err(unknown());
        }
    }
    Ok(())
}

/// Takes the lease: one that is free, or that nobody renews.
async fn take(client: &Client, mode: LockMode) -> Result<(Claim, Seen), StorageError> {
    let ours = Claim::new();
    let pause = (client.options.lease / 8).clamp(Duration::from_millis(20), Duration::from_secs(5));
    let mut watched: Option<(Seen, Instant)> = None;
    loop {
        let found = client.read(LOCK, MOST).await?;
        let expected = match found {
            None => Expected::Nothing,
            Some((bytes, seen)) => {
                let claim = Claim::read(&bytes);
                let since = match &watched {
                    Some((same, since)) if same.is(&seen) => *since,
                    // Somebody renewed it.
                    Some(_) if mode == LockMode::Fail && !claim.is_free() => {
                        return Err(StorageError::Locked {
                            path: client.place.shown(LOCK),
                            holder: claim.shown_holder(),
                        });
                    }
                    _ => Instant::now(),
                };
                if !claim.is_free() && since.elapsed() < client.options.lease {
                    watched = Some((seen, since));
                    tokio::time::sleep(pause).await;
                    continue;
                }
                Expected::This(seen)
            }
        };
        let expected = match client.options.unconditional {
            true => Expected::Anything,
            false => expected,
        };
        match client.put(LOCK, &ours.bytes(), &expected).await? {
            Put::Done(seen) => return Ok((ours, seen)),
            // Another run was quicker, and is the one to wait for.
            Put::Lost => watched = watched.filter(|_| mode == LockMode::Fail),
        }
    }
}

impl Shared {
    /// Writes the claim anew, until it is told to stop or the lease is another's.
    async fn renew(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let every = self.client.options.lease / 4;
        loop {
            tokio::select! {
                biased;
                _ = stopped.changed() => return,
                () = tokio::time::sleep(every) => {}
            }
            let (mut claim, _) = self.held();
            claim.renewed = claim.renewed.saturating_add(1);
            // What is not answered in time may have been done; the next look tells.
            let _ = tokio::time::timeout(every, self.write(claim)).await;
            if self.is_lost.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// Whether the claim that stands is still this one.
    async fn is_held(&self) -> Result<bool, StorageError> {
        let found = self.client.read(LOCK, MOST).await?;
        let claim = found.map(|(bytes, _)| Claim::read(&bytes));
        let (ours, _) = self.held();
        Ok(claim.is_some_and(|claim| claim.token == ours.token))
    }

    fn held(&self) -> (Claim, Seen) {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Puts another claim in the place of the one that is held.
    async fn write(&self, claim: Claim) {
        for _ in 0..2 {
            let (ours, seen) = self.held();
            let expected = match self.client.options.unconditional {
                true => Expected::Anything,
                false => Expected::This(seen),
            };
            let seen = match self.client.put(LOCK, &claim.bytes(), &expected).await {
                Ok(Put::Done(seen)) => seen,
                Err(_) => return,
                // Perhaps it is what this run wrote without getting an answer.
                Ok(Put::Lost) => match self.client.read(LOCK, MOST).await {
                    Ok(Some((bytes, seen))) if Claim::read(&bytes).token == ours.token => {
                        self.hold(Claim::read(&bytes), seen);
                        continue;
                    }
                    Ok(_) => {
                        self.is_lost.store(true, Ordering::Relaxed);
                        return;
                    }
                    Err(_) => return,
                },
            };
            self.hold(claim, seen);
            return;
        }
    }

    fn hold(&self, claim: Claim, seen: Seen) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = (claim, seen);
    }
}

impl Lease {
    /// Whether another run took the channel over, because this one did not renew its lease in time.
    pub fn is_lost(&self) -> bool {
        self.shared.is_lost.load(Ordering::Relaxed)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
        let task = self.task.take();
        let shared = Arc::clone(&self.shared);
        let within = Duration::from_secs(5).min(shared.client.options.lease);
        // What is not given back in time is taken over later.
        let _ = self.engine.block_on(async move {
            tokio::time::timeout(within, async move {
                if let Some(task) = task {
                    let _ = task.await;
                }
                if !shared.is_lost.load(Ordering::Relaxed) {
                    shared.write(Claim::default()).await;
                }
            })
            .await
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_says_one_short_line() {
        let told = |holder: &str| {
            let claim = serde_json::json!({ "holder": holder, "token": "t" });
            Claim::read(claim.to_string().as_bytes()).shown_holder()
        };
        let forged = told("process 1\nerror: all is lost\r\u{1b}[2J\u{202e}");
        assert_eq!(forged, r"process 1\nerror: all is lost\r\u{1b}[2J\u{202e}");
        assert_eq!(told(&"é".repeat(200)), "é".repeat(200));
        assert_eq!(told(&"é".repeat(1_000)), format!("{}…", "é".repeat(200)));
        let ours = Claim::new();
        assert_eq!(ours.shown_holder(), ours.holder);
    }
}
