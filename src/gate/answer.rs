//! What the gate says to one request. Owns the answers and the words of refusals and failures; must not know HTTP,
//! nor how an answer came to be.

pub use super::store::Place;
use crate::upstream::{UpstreamError, UpstreamFault};

/// The most characters of a sentence: those of the gate's own with the longest path.
const LONGEST: usize = 2048;

/// The answer to one path below a channel.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Bytes that were checked to the last one.
    Serve(Content),
    /// There is no such file: 404.
    Absent,
    /// There is one, or there should be, and it may not pass: 403.
    Refuse(Refusal),
    /// It can't be told, because the upstream or this machine fails: 502 or 504.
    Fail(Failure),
}

/// Bytes that may be served. What they are never changes: the hash names them, and is their ETag.
#[derive(Debug, Clone)]
pub struct Content {
    /// Their SHA-256.
    pub sha256: [u8; 32],
    /// How many there are.
    pub length: u64,
    /// Where they are.
    pub place: Place,
}

/// Why something may not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The path below the channel.
    pub path: String,
    /// What is wrong.
    pub kind: Wrong,
    /// One sentence for the user of a client: which file, what is wrong with it, what to do.
    pub sentence: String,
}

/// What can be wrong with what an upstream has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Wrong {
    /// A signature that does not hold.
    Invalid,
    /// No signature.
    Missing,
    /// A signature by a key that is not trusted.
    UnknownKey,
    /// A signature by a key that is too small, broken, or meant for something else.
    UnfitKey,
    /// A package that the verified index does not name.
    NotInIndex,
    /// Bytes that are not those that the index names.
    Changed,
    /// More bytes than the gate takes.
    TooLarge,
    /// A package under another name than its own.
    Misnamed,
    /// An index that does not verify.
    Index,
    /// A channel without a signed index, where one is demanded.
    NoSignedIndex,
    /// The upstream fails to give what it could be checked by.
    Unchecked,
}

impl Wrong {
    /// The word for logs and the status page.
    pub fn as_str(self) -> &'static str {
        match self {
            Wrong::Invalid => "invalid signature",
            Wrong::Missing => "missing signature",
            Wrong::UnknownKey => "unknown key",
            Wrong::UnfitKey => "unfit key",
            Wrong::NotInIndex => "not in the index",
            Wrong::Changed => "changed bytes",
            Wrong::TooLarge => "too large",
            Wrong::Misnamed => "another package's name",
            Wrong::Index => "index not verified",
            Wrong::NoSignedIndex => "no signed index",
            Wrong::Unchecked => "not checked",
        }
    }
}

/// Why it can't be told whether something may pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What failed.
    pub kind: Failed,
    /// One sentence: what failed, and what to do.
    pub sentence: String,
}

/// What can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Failed {
    /// The upstream can't be reached, breaks off, or answers nonsense: 502.
    Upstream,
    /// The upstream does not answer in time: 504.
    Slow,
    /// The gate itself: 500.
    Here,
    /// The gate's own store, or its memory of what it saw: 500. Its sentence names places of this machine.
    Store,
}

impl Failure {
    /// The HTTP status for it.
    pub fn status(&self) -> u16 {
        match self.kind {
            Failed::Upstream => 502,
            Failed::Slow => 504,
            Failed::Here | Failed::Store => 500,
        }
    }

    /// What clients are told: nothing of the places of this machine.
    pub fn told(&self) -> &str {
        match self.kind {
            Failed::Store => {
                "the gate's own store on its machine fails; whoever runs the gate finds the reason in its log"
            }
            _ => &self.sentence,
        }
    }
}

/// What the gate has to say beyond answers.
#[derive(Debug, Clone)]
pub enum Event {
    /// Served although it is wrong, because the channel's policy only reports.
    LetThrough(Refusal),
    /// A generation of the index was verified: the version of its timestamp, and when the first of its metadata
    /// expires, in Unix milliseconds.
    Verified {
        /// The version of the timestamp.
        version: u64,
        /// The first expiry, in Unix milliseconds.
        expires: i64,
    },
}

/// Who hears of events; called from many threads.
pub type Listener = dyn Fn(Event) + Send + Sync;

/// Why there is nothing to serve, before it is known for which path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stop {
    /// Something is wrong; a clause whose subject is the file, with the remedy.
    Refuse(Wrong, String),
    /// It can't be told; a whole sentence.
    Fail(Failed, String),
}

/// What came out of a check.
pub(super) type Checked<T> = Result<T, Stop>;

impl Stop {
    pub(super) fn refuse(kind: Wrong, why: String) -> Stop {
        Stop::Refuse(kind, why)
    }

    /// The gate's own disk fails.
    pub(super) fn here(cause: &dyn std::fmt::Display) -> Stop {
        Stop::Fail(Failed::Store, cause.to_string())
    }

    /// The upstream fails.
    pub(super) fn upstream(cause: &UpstreamError) -> Stop {
        let kind = match cause.fault {
            UpstreamFault::TooSlow(_) => Failed::Slow,
            UpstreamFault::Sink(_) => Failed::Store,
            _ => Failed::Upstream,
        };
        Stop::Fail(kind, format!("{cause}; try again later"))
    }

    /// The answer for a path of a channel.
    pub(super) fn answer(self, channel: &str, path: &str) -> Answer {
        match self {
            Stop::Fail(kind, sentence) => Answer::Fail(Failure {
                kind,
                sentence: bounded(&sentence),
            }),
            Stop::Refuse(kind, why) => Answer::Refuse(Refusal {
                path: path.to_owned(),
                kind,
                sentence: bounded(&format!("{channel}/{path} is not let through: {why}")),
            }),
        }
    }
}

/// A sentence that may quote an upstream, which may have much to say; it is remembered, and sent.
fn bounded(sentence: &str) -> String {
    match sentence.char_indices().nth(LONGEST) {
        None => sentence.to_owned(),
        Some((end, _)) => format!("{}...", sentence.get(..end).unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    #[test]
    fn an_upstream_with_much_to_say_is_cut_short() {
        let stop = Stop::refuse(Wrong::Index, "\u{e9}".repeat(1 << 20));
        let Answer::Refuse(refusal) = stop.answer("main", "noarch/repodata.json") else {
            panic!("it is a refusal");
        };
        assert!(
            refusal
                .sentence
                .starts_with("main/noarch/repodata.json is not let through: ")
        );
        assert!(refusal.sentence.ends_with("...") && refusal.sentence.len() < 3 * LONGEST);
        assert_eq!(bounded("short"), "short");
    }
}
