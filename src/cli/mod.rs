//! The command line. Owns flags, the environment, prompts, printing and exit statuses: flags become
//! opened objects here, once, and nothing below sees clap.

mod array;
mod elsewhere;
#[cfg(feature = "gate")]
mod gate;
mod index;
mod index_key;
mod keygen;
mod keys;
#[cfg(not(feature = "gate"))]
mod left_out;
mod options;
mod out;
mod own_files;
mod place;
mod prompt;
mod publish;
mod scan;
mod sign;
mod signals;
mod signing;
#[cfg(feature = "tuf")]
mod trust;
mod verify;

use std::process::ExitCode;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue};
use clap::{Parser, Subcommand};

use crate::error::Error;
use crate::shown::line;
use crate::upstream::without_secrets;

/// What belongs to no single flag.
const AFTER_HELP: &str = "\
Environment:
  SIGINDEX_KEYS_DIR     folder of keys
  SIGINDEX_PRIVATE_KEY  a private key, whole (PEM), named by SIGINDEX_KEY_NAME; --key wins over it
  SIGINDEX_PARTS        how many workers scan, where the job array does not say
  SIGINDEX_INDEX_KEY    the key of a signed index: exec:COMMAND or pkcs11:URI, named by
                        SIGINDEX_INDEX_KEY_NAME; SIGINDEX_INDEX_PRIVATE_KEY is that key, whole
  SIGINDEX_PIN          PIN of a token (pkcs11:URI), and SIGINDEX_PKCS11_MODULE its library
  SIGINDEX_GATE_TOKEN   the secret in the gate's paths
  SIGINDEX_PASSPHRASE   passphrase of an encrypted private key; asked for where it is not set
  XDG_CACHE_HOME        where the cache is [default: ~/.cache]
  XDG_STATE_HOME        where the gate remembers channels [default: ~/.local/state]
  SOURCE_DATE_EPOCH     the time that records get, in seconds since 1970; not what expires

Exit status:
  0 all is well · 1 failed, nothing was published · 2 wrong usage
  3 published, but some packages were refused · 130 interrupted

A folder that is called like a command is given as ./keygen, or to `index`.";

/// Sign and index a conda channel in one step.
///
/// `sigindex CHANNEL` signs every package that has no signature, reads each new package once, and
/// publishes the index files with the signatures in them.
#[derive(Debug, Parser)]
#[command(
    version,
    args_override_self = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = AFTER_HELP
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    index: index::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sign what is unsigned, index and publish a channel (what `sigindex CHANNEL` does)
    Index(Box<index::Args>),
    /// Read and sign a channel's packages, or this worker's share of them, and publish nothing
    Scan(Box<scan::Args>),
    /// Publish what workers scanned: `index`, but no package is opened
    Publish(Box<publish::Args>),
    /// Make a key pair: NAME, which is private, and NAME.pub
    Keygen(keygen::Args),
    /// Write FILE.sig, a detached signature, for any file
    Sign(sign::Args),
    /// Check files against their FILE.sig, or all of a channel, or an environment
    Verify(verify::Args),
    /// List the keys in the keys folder; add and remove keys, and say which channel trusts which
    Keys(keys::Args),
    /// Let clients have only what verifies: a proxy on this machine, in front of channels
    #[cfg(feature = "gate")]
    Gate(Box<gate::Args>),
    /// Run a command behind a gate of its own
    #[cfg(feature = "gate")]
    Exec(Box<gate::exec::Args>),
    /// (this build has no gate)
    #[cfg(not(feature = "gate"))]
    #[command(hide = true)]
    Gate(left_out::Args),
    /// (this build has no gate)
    #[cfg(not(feature = "gate"))]
    #[command(hide = true)]
    Exec(left_out::Args),
    /// Sign a channel's index: who may, on which machine, and until when
    #[cfg(feature = "tuf")]
    Trust(trust::Args),
}

/// Exit statuses, as the contract has them.
mod status {
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const IN_PART: u8 = 3;
    pub const INTERRUPTED: u8 = 130;
}

/// The words on the command line that an error quotes may be names that a shell found, or URLs with a password.
fn with_names_shown(mut error: clap::Error) -> clap::Error {
    let line = |word: &str| line(&without_secrets(word));
    let styled = |tip: &StyledStr| {
        let text = tip.to_string();
        let shown = line(&text);
        match shown == text {
            true => tip.clone(),
            false => StyledStr::from(shown),
        }
    };
    let quoted = |(kind, value): (ContextKind, &ContextValue)| {
        let shown = match value {
            ContextValue::String(word) => ContextValue::String(line(word)),
            ContextValue::Strings(words) => {
                ContextValue::Strings(words.iter().map(|word| line(word)).collect())
            }
            // Tips, of which one quotes what was not understood.
            ContextValue::StyledStrs(tips) => {
                ContextValue::StyledStrs(tips.iter().map(styled).collect())
            }
            _ => return None,
        };
        Some((kind, shown))
    };
    let shown: Vec<_> = error.context().filter_map(quoted).collect();
    for (kind, value) in shown {
        error.insert(kind, value);
    }
    error
}

/// Runs the command line of this process.
pub fn run() -> ExitCode {
    options::allow_many_files();
    options::survive_size_limits();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let error = with_names_shown(error);
            // A closed stdout is no reason to fail.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(status::USAGE));
        }
    };
    let result = match cli.command {
        None => index::run(&cli.index),
        Some(Command::Index(args)) => index::run(&args),
        Some(Command::Scan(args)) => scan::run(&args),
        Some(Command::Publish(args)) => publish::run(&args),
        Some(Command::Keygen(args)) => keygen::run(&args),
        Some(Command::Sign(args)) => sign::run(&args),
        Some(Command::Verify(args)) => verify::run(&args),
        Some(Command::Keys(args)) => keys::run(&args),
        #[cfg(feature = "gate")]
        Some(Command::Gate(args)) => gate::run(&args),
        #[cfg(feature = "gate")]
        Some(Command::Exec(args)) => gate::exec::run(&args),
        #[cfg(not(feature = "gate"))]
        Some(Command::Gate(_) | Command::Exec(_)) => left_out::run("gate"),
        #[cfg(feature = "tuf")]
        Some(Command::Trust(args)) => trust::run(&args),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            out::error(&error.to_string());
            ExitCode::from(match error {
                Error::Usage(_) => status::USAGE,
                Error::Interrupted => status::INTERRUPTED,
                _ if signals::ended_a_question() => status::INTERRUPTED,
                _ => status::FAILED,
            })
        }
    }
}
