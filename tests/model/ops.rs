//! What can happen to a channel, and how likely it is.

use proptest::prelude::*;
use proptest::sample::Index;

use crate::goods::{CONTENTS, PACKAGES};

/// Something that happens.
#[derive(Debug, Clone)]
pub enum Op {
    /// A package is uploaded.
    Put {
        package: usize,
        content: usize,
        how: Upload,
    },
    /// Something that is no such package lies under its name.
    Break { package: usize, fault: Fault },
    /// A package goes, with or without its signature.
    Take { package: usize, with_sig: bool },
    /// Somebody does something to a signature.
    Sig { package: usize, what: SigOp },
    /// A key of the keys folder becomes this.
    Key(KeyOp),
    /// Patches come, change, break or go.
    Patch { subdir: usize, what: PatchOp },
    /// A package has new times.
    Touch { package: usize },
    /// An index file has new times.
    TouchIndex(Index),
    /// An index file is damaged.
    Damage { file: Index, how: Damage },
    /// The cache is damaged.
    Cache(CacheFault),
    /// The operator mends what is wrong: spoilt packages, signatures, patches and keys.
    Mend,
    /// All is copied to another machine: new inodes.
    Move,
    /// The clock is set, by minutes.
    Clock(i64),
    /// An indexer runs.
    Run(Box<RunOp>),
}

/// How a package is uploaded.
#[derive(Debug, Clone, Copy)]
pub enum Upload {
    Renamed,
    InPlace,
    /// Into the same file, whose times are put back.
    WithOldTimes,
}

/// What lies there instead of a package.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    Empty,
    Text,
    CutOff,
    /// A package by another name.
    Misnamed,
}

/// What is done to a signature.
#[derive(Debug, Clone, Copy)]
pub enum SigOp {
    Remove,
    Empty,
    /// Two words, and no signature.
    Forge,
    /// Made elsewhere, by the key `fixture` or `other`, of some content.
    Made {
        by_other: bool,
        content: usize,
    },
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy)]
pub enum KeyOp {
    /// `other.pub` is not there, is what it should be, or is another key's.
    Other(Option<bool>),
    /// The pair `fixture` is what it was, or another pair of that name.
    Own(bool),
}

/// What becomes of a subdir's patches.
#[derive(Debug, Clone, Copy)]
pub enum PatchOp {
    Take,
    Put(usize),
    Empty,
    Break,
}

/// What becomes of an index file.
#[derive(Debug, Clone, Copy)]
pub enum Damage {
    Delete,
    CutOff,
    Garbage,
    Flip(Index),
}

/// What becomes of the cache.
#[derive(Debug, Clone, Copy)]
pub enum CacheFault {
    Delete,
    Garbage,
    CutOff,
    /// Every row is that of another file.
    Sizes,
    /// One package's row is gone.
    OneRow,
    NoLedger,
    BrokenLedger,
}

/// Who runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Library,
    /// The library or the real binary.
    Either,
}

/// What may be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Signs {
    #[default]
    All,
    Nothing,
    Required,
}

/// A run; by default one without flags, of the library.
#[derive(Debug, Clone, Default)]
pub struct RunOp {
    pub by_binary: bool,
    pub signs: Signs,
    pub replace: Option<bool>,
    pub drop_refused: bool,
    pub strict: bool,
    pub resign: bool,
    pub keep_unknown: bool,
    pub rehash: bool,
    pub check_archives: bool,
    pub dry_run: bool,
    pub without_cache: bool,
    pub detached: bool,
    pub files: Files,
    /// It dies: at which writing, after how many changes of it; or, of the binary, after how many milliseconds.
    pub dies: Option<(usize, usize)>,
}

/// Which files are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    pub all: bool,
    pub no_monolithic: bool,
    pub no_shards: bool,
    pub no_html: bool,
    pub no_zst: bool,
    pub no_run_exports: bool,
    pub bz2: bool,
    pub current: bool,
    pub indented: bool,
}

/// What happens one after the other, for runs by these. Some of it stands between two runs that differ in nothing else.
pub fn sequence(by: By, most: usize) -> impl Strategy<Value = Vec<Op>> {
    let plain = move || plain(by).prop_map(|run| Op::Run(Box::new(run)));
    let replace = move || {
        plain().prop_map(|op| match op {
            Op::Run(run) => Op::Run(Box::new(RunOp {
                replace: Some(true),
                ..*run
            })),
            other => other,
        })
    };
    let part = prop_oneof![
        4 => op(by).prop_map(|op| vec![op]),
        // Where nothing is wrong, a run builds on what the one before wrote down.
        1 => (replace(), plain(), op(by), plain())
            .prop_map(|(accept, before, op, after)| vec![Op::Mend, accept, before, op, after]),
        1 => (plain(), op(by), plain()).prop_map(|(before, op, after)| vec![before, op, after]),
    ];
    prop::collection::vec(part, 5..most).prop_map(|parts| parts.concat())
}

/// Anything.
fn op(by: By) -> impl Strategy<Value = Op> {
    let package = || 0..PACKAGES.len();
    // Mostly what was there before.
    let content = || prop_oneof![3 => Just(0), 2 => 0..CONTENTS];
    let upload = prop_oneof![
        4 => Just(Upload::Renamed),
        1 => Just(Upload::InPlace),
        2 => Just(Upload::WithOldTimes),
    ];
    let fault = prop_oneof![
        Just(Fault::Empty),
        Just(Fault::Text),
        Just(Fault::CutOff),
        Just(Fault::Misnamed),
    ];
    let sig = prop_oneof![
        2 => Just(SigOp::Remove),
        1 => Just(SigOp::Empty),
        1 => Just(SigOp::Forge),
        3 => (any::<bool>(), content())
            .prop_map(|(by_other, content)| SigOp::Made { by_other, content }),
    ];
    let key = prop_oneof![
        3 => prop::option::of(any::<bool>()).prop_map(KeyOp::Other),
        1 => any::<bool>().prop_map(KeyOp::Own),
    ];
    let patch = prop_oneof![
        2 => Just(PatchOp::Take),
        4 => (0..3usize).prop_map(PatchOp::Put),
        1 => Just(PatchOp::Empty),
        1 => Just(PatchOp::Break),
    ];
    let damage = prop_oneof![
        3 => Just(Damage::Delete),
        1 => Just(Damage::CutOff),
        1 => Just(Damage::Garbage),
        2 => any::<Index>().prop_map(Damage::Flip),
    ];
    let cache = prop_oneof![
        Just(CacheFault::Delete),
        Just(CacheFault::Garbage),
        Just(CacheFault::CutOff),
        Just(CacheFault::Sizes),
        Just(CacheFault::OneRow),
        Just(CacheFault::NoLedger),
        Just(CacheFault::BrokenLedger),
    ];
    prop_oneof![
        8 => (package(), content(), upload)
            .prop_map(|(package, content, how)| Op::Put { package, content, how }),
        1 => (package(), fault).prop_map(|(package, fault)| Op::Break { package, fault }),
        4 => (package(), any::<bool>())
            .prop_map(|(package, with_sig)| Op::Take { package, with_sig }),
        3 => (package(), sig).prop_map(|(package, what)| Op::Sig { package, what }),
        1 => key.prop_map(Op::Key),
        2 => (0..2usize, patch).prop_map(|(subdir, what)| Op::Patch { subdir, what }),
        1 => package().prop_map(|package| Op::Touch { package }),
        1 => any::<Index>().prop_map(Op::TouchIndex),
        3 => (any::<Index>(), damage).prop_map(|(file, how)| Op::Damage { file, how }),
        2 => cache.prop_map(Op::Cache),
        1 => Just(Op::Move),
        2 => (-12_000..30_000_i64).prop_map(Op::Clock),
        // One run after the other with the same flags, so that what they write down counts, and others in between.
        10 => plain(by).prop_map(|run| Op::Run(Box::new(run))),
        6 => run(by).prop_map(|run| Op::Run(Box::new(run))),
    ]
}

fn by_binary(by: By) -> impl Strategy<Value = bool> {
    prop::bool::weighted(if by == By::Either { 0.5 } else { 0.0 })
}

/// A run without any flag.
fn plain(by: By) -> impl Strategy<Value = RunOp> {
    by_binary(by).prop_map(|by_binary| RunOp {
        by_binary,
        ..RunOp::default()
    })
}

fn rarely() -> impl Strategy<Value = bool> {
    prop::bool::weighted(0.1)
}

fn run(by: By) -> impl Strategy<Value = RunOp> {
    let by_binary = by_binary(by);
    let signs = prop_oneof![
        10 => Just(Signs::All),
        1 => Just(Signs::Nothing),
        1 => Just(Signs::Required),
    ];
    let replace = prop_oneof![
        6 => Just(None),
        3 => Just(Some(true)),
        1 => Just(Some(false)),
    ];
    let dies = prop::option::weighted(0.3, (0..3usize, 0..20usize));
    let policy = (
        (by_binary, signs, replace),
        prop::bool::weighted(0.4),
        rarely(),
        rarely(),
        prop::bool::weighted(0.2),
    );
    let manner = (
        rarely(),
        rarely(),
        rarely(),
        rarely(),
        rarely(),
        files(),
        dies,
    );
    (policy, manner).prop_map(|(policy, manner)| {
        let ((by_binary, signs, replace), drop_refused, strict, resign, keep_unknown) = policy;
        let (rehash, check_archives, dry_run, without_cache, detached, files, dies) = manner;
        RunOp {
            by_binary,
            signs,
            replace,
            drop_refused,
            strict,
            // What signs nothing can't sign anew.
            resign: resign && signs == Signs::All,
            keep_unknown,
            rehash,
            check_archives,
            dry_run,
            without_cache,
            detached,
            files,
            dies: dies.filter(|_| !dry_run),
        }
    })
}

fn files() -> impl Strategy<Value = Files> {
    let some = (rarely(), rarely(), rarely(), rarely());
    let more = (rarely(), rarely(), rarely(), rarely(), rarely());
    let any = (some, more).prop_map(|(some, more)| {
        let (all, no_monolithic, no_shards, no_html) = some;
        let (no_zst, no_run_exports, bz2, current, indented) = more;
        Files {
            all,
            no_monolithic: no_monolithic && !no_shards,
            no_shards,
            no_html,
            no_zst,
            no_run_exports,
            bz2,
            current,
            indented,
        }
    });
    // Mostly the same flags as before, so that what earlier runs wrote down counts.
    prop_oneof![3 => Just(Files::default()), 2 => any]
}
