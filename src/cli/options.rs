//! What several verbs share: flags of keys and signing, threads, and how much is said.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use rayon::{ThreadPool, ThreadPoolBuilder};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

use super::own_files::{Closed, Own, resolved};
use super::place;
use crate::error::Error;
use crate::keys::KeysDir;
use crate::progress::{Display, Progress};
use crate::shown::shown;
use crate::signing_log::SigningLog;

const KEYS_DIR: &str = "SIGINDEX_KEYS_DIR";

/// Where keys are.
#[derive(Debug, Clone, Args)]
pub struct KeysFolder {
    /// Folder of keys [default: $SIGINDEX_KEYS_DIR, else ~/.conda/keys]
    #[arg(long, value_name = "DIR", help_heading = "Keys")]
    pub keys_dir: Option<PathBuf>,
    /// Take private keys that their group can read (for secret mounts)
    #[arg(long, help_heading = "Keys")]
    pub group_readable_keys: bool,
}

impl KeysFolder {
    pub fn open(&self) -> Result<KeysDir, Error> {
        let path = match (&self.keys_dir, variable(KEYS_DIR)?) {
            (Some(path), _) => path.clone(),
            (None, Some(path)) => path.into(),
            (None, None) => home()?.join(".conda").join("keys"),
        };
        place::here(&path)?;
        Ok(KeysDir::new(path, self.group_readable_keys))
    }
}

/// How small a key may be.
#[derive(Debug, Clone, Args)]
pub struct MinBits {
    /// Smallest key whose signatures count, in bits
    #[arg(
        long,
        value_name = "BITS",
        default_value_t = 2048,
        help_heading = "Keys"
    )]
    pub min_bits: u32,
}

/// Which key signs.
#[derive(Debug, Clone, Default, Args)]
pub struct SigningOptions {
    /// Key that signs: NAME of the folder, or exec:COMMAND, or pkcs11:URI [default: the only private key in the folder]
    #[arg(long, value_name = "KEY", help_heading = "Keys")]
    pub key: Option<String>,
    /// How the key of exec: or pkcs11: is called [default: $SIGINDEX_KEY_NAME, else what the command or token says]
    #[arg(long, value_name = "NAME", requires = "key", help_heading = "Keys")]
    pub key_name: Option<String>,
    /// How long the command of exec: may take for an answer
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        value_parser = clap::value_parser!(u32).range(1..=86_400),
        help_heading = "Keys"
    )]
    pub key_timeout: u32,
    /// Key that signs; made when it isn't there
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with = "key",
        help_heading = "Keys"
    )]
    pub create_key: Option<String>,
    /// Append a JSON line for every signature that is made
    #[arg(long, value_name = "FILE", help_heading = "Keys")]
    pub signing_log: Option<PathBuf>,
}

/// The most threads that work.
const MAX_THREADS: u16 = 1024;

/// What rayon takes from the environment, however much it is.
const RAYON_THREADS: &str = "RAYON_NUM_THREADS";

/// How many threads work.
#[derive(Debug, Clone, Args)]
pub struct Threads {
    /// Threads that read and sign [default: one for each core]
    #[arg(long, value_name = "N", alias = "max-parallel", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_THREADS)))]
    pub threads: Option<u16>,
}

impl Threads {
    pub fn pool(&self) -> Result<ThreadPool, Error> {
        let asked = || std::env::var(RAYON_THREADS).ok()?.parse().ok();
        let threads = self.threads.map(usize::from).or_else(asked);
        ThreadPoolBuilder::new()
            .num_threads(threads.unwrap_or(0).min(MAX_THREADS.into()))
            .build()
            .map_err(|error| Error::Threads(error.to_string()))
    }
}

/// How much is said.
#[derive(Debug, Clone, Args)]
pub struct Verbosity {
    /// Say nothing but errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say everything
    #[arg(short, long)]
    pub verbose: bool,
}

impl Verbosity {
    pub fn progress(&self) -> Progress {
        use std::io::IsTerminal as _;
        Progress::new(match () {
            () if self.quiet => Display::Silent,
            () if std::io::stderr().is_terminal() => Display::Bars,
            () => Display::Lines,
        })
    }
}

/// An environment variable; an empty one counts as none.
pub fn variable(name: &str) -> Result<Option<String>, Error> {
    match std::env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(Error::Environment(format!(
            "${name} is not UTF-8; correct it"
        ))),
    }
}

/// The time of this run in Unix milliseconds; `SOURCE_DATE_EPOCH` (seconds) wins.
pub fn now() -> Result<i64, Error> {
    if let Some(seconds) = variable("SOURCE_DATE_EPOCH")? {
        let milliseconds = seconds
            .parse::<i64>()
            .ok()
            .and_then(|seconds| seconds.checked_mul(1_000));
        return milliseconds.filter(|ms| *ms >= 0).ok_or_else(|| {
            Error::Usage(format!(
                "SOURCE_DATE_EPOCH={}: not a number of seconds since 1970",
                seconds.escape_debug()
            ))
        });
    }
    Ok(clock())
}

/// The time by the clock, in Unix milliseconds: for what expires, which no reader holds against another time.
pub fn clock() -> i64 {
    jiff::Timestamp::now().as_millisecond().max(0)
}

/// The user's home folder.
pub fn home() -> Result<PathBuf, Error> {
    let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
    home.ok_or_else(|| {
        Error::Environment(
            "there is no home folder ($HOME is not set); name folders with --keys-dir and --cache"
                .to_owned(),
        )
    })
}

/// The user's folder for caches.
pub fn cache_home() -> Result<PathBuf, Error> {
    users_folder("XDG_CACHE_HOME", ".cache")
}

/// A folder of the user's for programs: where a variable says, else below the home (XDG base directories: a relative
/// path there counts for nothing).
pub fn users_folder(name: &str, below_home: &str) -> Result<PathBuf, Error> {
    let folder = variable(name)?.map(PathBuf::from);
    match folder.filter(|path| path.is_absolute()) {
        Some(folder) => Ok(folder),
        None => Ok(home()?.join(below_home)),
    }
}

/// The signing log, if there is to be one. A dry run makes sure that it could be opened, and leaves it.
pub fn signing_log(
    signing: &SigningOptions,
    closed: &Closed,
    dry_run: bool,
) -> Result<Option<SigningLog>, Error> {
    let Some(path) = signing.signing_log.as_deref() else {
        return Ok(None);
    };
    let found = resolved(place::here(path)?).map_err(|cause| Error::File {
        path: shown(path),
        operation: "find the signing log",
        cause,
    })?;
    closed.keep_out(Own::SigningLog, &found)?;
    match dry_run {
        true => SigningLog::check(path).map(|()| None),
        false => SigningLog::open(path).map(Some),
    }
}

/// The text of a file that the operator named, which may be a pipe.
///
/// # Errors
/// When it can't be read, is no text in UTF-8, or has more than `most` bytes.
pub fn read_text(path: &Path, most: u64, operation: &'static str) -> Result<String, Error> {
    let fail = |cause| Error::File {
        path: shown(path),
        operation,
        cause,
    };
    let mut text = String::new();
    let file = File::open(place::file(path)?).map_err(fail)?;
    let read = file.take(most.saturating_add(1)).read_to_string(&mut text);
    let read = u64::try_from(read.map_err(fail)?).unwrap_or(u64::MAX);
    if read > most {
        let why = format!("it has more than {most} bytes");
        return Err(fail(std::io::Error::other(why)));
    }
    Ok(text)
}

/// Lets the process hold as many files open as it may at most: publishing holds the folders of all subdirs.
pub fn allow_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum;
    // Where that is forbidden, the run goes as far as it gets.
    let _ = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: most,
            ..limit
        },
    );
}

/// Lets a write past the limit on a file's size (`ulimit -f`) fail, as one does on a full disk, instead of ending the
/// process by SIGXFSZ: then what was begun is taken back, and the file is named. Programs that are started keep the default.
pub fn survive_size_limits() {
    // Where that is forbidden, a limit ends the run as a kill does.
    let _ = signal_hook::flag::register(Signal::XFSZ.as_raw(), std::sync::Arc::default());
}
