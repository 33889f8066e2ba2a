//! What the gate did: counts by channel, the last events with their reasons, and a line for each of them to whoever
//! listens. Bounded, whatever clients do; must not know how any of it is shown.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;

use super::answer::{Failure, Refusal};

/// How many events are remembered.
const MOST_EVENTS: usize = 200;

/// How many kinds of refusals a channel's counts hold.
const MOST_KINDS: usize = 32;

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It was fetched, checked and served.
    Served,
    /// It was not served.
    Refused,
    /// It was served, and would have been refused if the channel's policy asked for more.
    LetThrough,
    /// It can't be told whether it may be served.
    Failed,
    /// Something that the operator should know.
    Note,
}

impl What {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            What::Served => "served",
            What::Refused => "refused",
            What::LetThrough => "let through",
            What::Failed => "failed",
            What::Note => "note",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// To a file of which channel.
    pub channel: String,
    /// The path below it; empty where it is about the channel.
    pub path: String,
    /// What.
    pub what: What,
    /// Why, in a sentence; empty where there is nothing to say.
    pub why: String,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event {
            channel,
            path,
            what,
            why,
            ..
        } = self;
        write!(f, "{}: {channel}/{path}", what.as_str())?;
        match why.as_str() {
            "" => Ok(()),
            why => write!(f, ": {why}"),
        }
    }
}

/// What a channel's counts come to.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Answers with a file, or a part of one.
    pub served: u64,
    /// Their bytes, as far as they were asked for.
    pub bytes: u64,
    /// Files that are not there.
    pub absent: u64,
    /// Failures.
    pub failed: u64,
    /// Refusals by kind.
    pub refused: BTreeMap<&'static str, u64>,
    /// What would have been refused, by kind.
    pub let_through: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// All refusals.
    pub fn all_refused(&self) -> u64 {
        self.refused
            .values()
            .fold(0, |sum, one| sum.saturating_add(*one))
    }
}

/// A channel's counters.
#[derive(Debug, Default)]
struct Counters {
    served: AtomicU64,
    bytes: AtomicU64,
    absent: AtomicU64,
    failed: AtomicU64,
    kinds: Mutex<[BTreeMap<&'static str, u64>; 2]>,
}

/// Who gets a line for each event.
pub type Sink = dyn Fn(&Event) + Send + Sync;

/// The gate's log.
pub struct Log {
    channels: BTreeMap<String, Counters>,
    events: Mutex<VecDeque<Event>>,
    sink: Box<Sink>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

impl Log {
    /// A log of channels with these names.
    pub fn new(channels: impl IntoIterator<Item = String>, sink: Box<Sink>) -> Log {
        let counters = |name| (name, Counters::default());
        Log {
            channels: channels.into_iter().map(counters).collect(),
            events: Mutex::default(),
            sink,
        }
    }

    /// A file, or a part of it, went to a client; `is_new` where it was fetched for that.
    pub fn served(&self, channel: &str, path: &str, bytes: u64, is_new: bool) {
        self.count(channel, |it| {
            it.served.fetch_add(1, Ordering::Relaxed);
            it.bytes.fetch_add(bytes, Ordering::Relaxed);
        });
        if is_new {
            self.event(channel, path, What::Served, String::new());
        }
    }

    /// A file is not there.
    pub fn absent(&self, channel: &str) {
        self.count(channel, |it| {
            it.absent.fetch_add(1, Ordering::Relaxed);
        });
    }

    /// A file was refused.
    pub fn refused(&self, channel: &str, refusal: &Refusal) {
        self.kind(channel, 0, refusal.kind.as_str());
        self.event(
            channel,
            &refusal.path,
            What::Refused,
            refusal.sentence.clone(),
        );
    }

    /// A file was served although it is wrong.
    pub fn let_through(&self, channel: &str, refusal: &Refusal) {
        self.kind(channel, 1, refusal.kind.as_str());
        self.event(
            channel,
            &refusal.path,
            What::LetThrough,
            refusal.sentence.clone(),
        );
    }

    /// It can't be told whether a file may be served.
    pub fn failed(&self, channel: &str, path: &str, failure: &Failure) {
        self.count(channel, |it| {
            it.failed.fetch_add(1, Ordering::Relaxed);
        });
        self.event(channel, path, What::Failed, failure.sentence.clone());
    }

    /// Something that the operator should know of a channel.
    pub fn note(&self, channel: &str, text: String) {
        self.event(channel, "", What::Note, text);
    }

    /// What a channel's counts come to.
    pub fn counts(&self, channel: &str) -> Counts {
        let Some(it) = self.channels.get(channel) else {
            return Counts::default();
        };
        let [refused, let_through] = lock(&it.kinds).clone();
        Counts {
            served: it.served.load(Ordering::Relaxed),
            bytes: it.bytes.load(Ordering::Relaxed),
            absent: it.absent.load(Ordering::Relaxed),
            failed: it.failed.load(Ordering::Relaxed),
            refused,
            let_through,
        }
    }

    /// The last events, the newest first.
    pub fn events(&self) -> Vec<Event> {
        lock(&self.events).iter().rev().cloned().collect()
    }

    fn count(&self, channel: &str, add: impl Fn(&Counters)) {
        if let Some(counters) = self.channels.get(channel) {
            add(counters);
        }
    }

    fn kind(&self, channel: &str, which: usize, kind: &'static str) {
        self.count(channel, |it| {
            let mut kinds = lock(&it.kinds);
            if let Some(kinds) = kinds.get_mut(which)
                && (kinds.len() < MOST_KINDS || kinds.contains_key(kind))
            {
                let count = kinds.entry(kind).or_default();
                *count = count.saturating_add(1);
            }
        });
    }

    fn event(&self, channel: &str, path: &str, what: What, why: String) {
        let event = Event {
            time: Timestamp::now(),
            channel: channel.to_owned(),
            path: path.to_owned(),
            what,
            why,
        };
        (self.sink)(&event);
        let mut events = lock(&self.events);
        if events.len() >= MOST_EVENTS {
            events.pop_front();
        }
        events.push_back(event);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
