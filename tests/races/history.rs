//! What happened in a raced channel, and when: which bytes lay under which name, when signatures were touched, which
//! runs went through. It owns what a reader has to put up with, and nothing else is put up with.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use crate::reader::{Named, OnDisk, Packages, digest};

/// Everything that happened.
pub struct History {
    began: Instant,
    lives: Mutex<HashMap<String, Vec<Life>>>,
    touched: Mutex<HashMap<String, Vec<Span>>>,
    /// Runs that published, or found nothing to do: when each began and ended.
    runs: Mutex<Vec<(Instant, Instant)>>,
}

/// Bytes under a name.
struct Life {
    sha256: String,
    size: u64,
    /// Set before anything is done that ends it.
    ending: bool,
    /// When that was done.
    ended: Option<Instant>,
}

/// A change that is under way, or was.
struct Span {
    ended: Option<Instant>,
}

impl History {
    /// Nothing happened yet.
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            lives: Mutex::default(),
            touched: Mutex::default(),
            runs: Mutex::default(),
        }
    }

    /// Does something after which these bytes, or none, lie under a name.
    pub fn change(&self, path: &str, to: Option<&[u8]>, change: impl FnOnce()) {
        {
            let mut lives = self.lives.lock().unwrap();
            let lives = lives.entry(path.to_owned()).or_default();
            lives.iter_mut().for_each(|life| life.ending = true);
            lives.extend(to.map(|bytes| Life {
                sha256: digest(bytes),
                size: bytes.len() as u64,
                ending: false,
                ended: None,
            }));
        }
        change();
        let (now, mut lives) = (Instant::now(), self.lives.lock().unwrap());
        let over = lives.get_mut(path).unwrap().iter_mut();
        let over = over.filter(|life| life.ending && life.ended.is_none());
        over.for_each(|life| life.ended = Some(now));
    }

    /// Does something to a signature.
    pub fn touch(&self, path: &str, change: impl FnOnce()) {
        let at = {
            let mut touched = self.touched.lock().unwrap();
            let spans = touched.entry(path.to_owned()).or_default();
            spans.push(Span { ended: None });
            spans.len() - 1
        };
        change();
        let mut touched = self.touched.lock().unwrap();
        touched.get_mut(path).unwrap()[at].ended = Some(Instant::now());
    }

    /// Notes a run that published, or found nothing to do.
    pub fn ran(&self, began: Instant) {
        self.runs.lock().unwrap().push((began, Instant::now()));
    }

    /// When the newest run began that has gone through: what was gone by then, no index names any more.
    pub fn floor(&self) -> Instant {
        let now = Instant::now();
        let runs = self.runs.lock().unwrap();
        let through = runs.iter().filter(|(_, ended)| *ended <= now);
        through.map(|(began, _)| *began).max().unwrap_or(self.began)
    }

    /// Whether these bytes lay there since a moment, and do no longer.
    fn lay_there(&self, path: &str, since: Instant, fits: impl Fn(&Life) -> bool) -> bool {
        let lives = self.lives.lock().unwrap();
        let mut lives = lives.get(path).into_iter().flatten();
        let late = |ended: Option<Instant>| ended.is_none_or(|ended| ended >= since);
        lives.any(|life| life.ending && late(life.ended) && fits(life))
    }

    /// Whether a signature was touched since a moment.
    fn was_touched(&self, path: &str, since: Instant) -> bool {
        let touched = self.touched.lock().unwrap();
        let mut spans = touched.get(path).into_iter().flatten();
        spans.any(|span| span.ended.is_none_or(|ended| ended >= since))
    }
}

/// Packages of a channel that is under attack, for a reader who begins now.
pub struct Attacked<'a> {
    on_disk: OnDisk<'a>,
    history: &'a History,
    floor: Instant,
}

impl<'a> Attacked<'a> {
    /// From this moment on.
    pub fn now(on_disk: OnDisk<'a>, history: &'a History) -> Self {
        let floor = history.floor();
        Self {
            on_disk,
            history,
            floor,
        }
    }
}

impl Packages for Attacked<'_> {
    fn bytes(&self, named: &Named<'_>) -> Result<(), String> {
        let fits = |life: &Life| life.sha256 == named.sha256 && life.size == named.size;
        self.on_disk.bytes(named).or_else(|why| {
            let excused = self.history.lay_there(named.path, self.floor, fits);
            excused.then_some(()).ok_or(why)
        })
    }

    fn signature(&self, named: &Named<'_>) -> Result<(), String> {
        self.on_disk.signature(named).or_else(|why| {
            let excused = self.history.was_touched(named.path, self.floor)
                || self.history.lay_there(named.path, self.floor, |_| true);
            excused.then_some(()).ok_or(why)
        })
    }

    fn is_there(&self, path: &str) -> Result<(), String> {
        self.on_disk.is_there(path).or_else(|why| {
            let excused = self.history.lay_there(path, self.floor, |_| true);
            excused.then_some(()).ok_or(why)
        })
    }
}
