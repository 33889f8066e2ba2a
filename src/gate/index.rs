//! An index, signed or plain, as the rest of the gate asks for it. Owns nothing but the difference.

use std::fmt;
use std::sync::Arc;

use super::answer::{Checked, Content};
use super::plain::PlainIndex;
use super::records::Relations;
use super::signed::SignedIndex;
use super::store::Hash;
use super::trust::Trust;

/// A channel's index.
pub(super) enum Index {
    /// Served only as far as its signatures reach.
    Signed(SignedIndex),
    /// Passed through; the trust is in packages alone.
    Plain(PlainIndex, Arc<Trust>),
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Index::Signed(_) => "Signed",
            Index::Plain(..) => "Plain",
        })
    }
}

/// An index file that an answer rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Basis {
    pub path: String,
    pub hash: Hash,
    /// The number of the generation; 0 where there are none.
    pub number: u64,
}

impl Index {
    /// An index file, fresh; `None` where there is none.
    pub(super) fn file(&self, path: &str) -> Checked<Option<Content>> {
        match self {
            Index::Signed(index) => index.file(path),
            Index::Plain(index, _) => index.file(path),
        }
    }

    /// Whatever lies at a path, where nothing is demanded of it; of a signed index, nothing else than its files.
    pub(super) fn anything(&self, path: &str, cap: u64) -> Checked<Option<Content>> {
        match self {
            Index::Signed(index) => index.file(path),
            Index::Plain(index, _) => index.anything(path, cap),
        }
    }

    /// The keys whose package signatures count.
    pub(super) fn trust(&self) -> Checked<Arc<Trust>> {
        match self {
            Index::Signed(index) => Ok(Arc::clone(&index.view()?.trust)),
            Index::Plain(_, trust) => Ok(Arc::clone(trust)),
        }
    }

    /// What an answer rests on that was just found in an index file.
    pub(super) fn basis(&self, path: &str, hash: Hash) -> Basis {
        let number = match self {
            Index::Signed(index) => index.at_hand().map_or(0, |view| view.number),
            Index::Plain(..) => 0,
        };
        let path = path.to_owned();
        Basis { path, hash, number }
    }

    /// Whether an answer may be given again without asking anybody.
    pub(super) fn is_current(&self, basis: &Basis) -> bool {
        match self {
            Index::Signed(index) => {
                index.is_current(basis.number) && index.hash(&basis.path) == Some(basis.hash)
            }
            Index::Plain(index, _) => index.is_current(&basis.path, &basis.hash),
        }
    }

    /// Where records stand in a subdir, the best first. All that is signed says the same, and the twin is the
    /// smaller; what is not signed may have a twin that went stale.
    pub(super) fn sources(&self) -> [&'static str; 2] {
        match self {
            Index::Signed(_) => ["repodata.json.zst", "repodata.json"],
            Index::Plain(..) => ["repodata.json", "repodata.json.zst"],
        }
    }

    /// Whether it may lead clients to other channels.
    pub(super) fn relations(&self) -> Relations {
        match self {
            Index::Signed(_) => Relations::Signed,
            Index::Plain(..) => Relations::Refused,
        }
    }

    /// Whether each file of the index has to be looked into, as nothing says that they agree.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self, Index::Plain(..))
    }
}
