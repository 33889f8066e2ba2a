//! What went wrong between sigindex and PostgreSQL. Owns which of it passes by itself, and what to do about the rest; must
//! not know what was asked.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use deadpool_postgres::PoolError;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{WasNull, WrongType};

/// What to do about tables that are there and are not those that sigindex makes.
pub(super) const FOREIGN: &str = "the schema sigindex is not as sigindex made it; look what it holds, and drop it (DROP SCHEMA sigindex CASCADE), by which it is built anew, or name another database with --cache";

/// Why one attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server or the connection to it.
    Postgres(Error),
    /// No answer for so long.
    Silent(Duration),
    /// There is an answer, and it makes no sense to go on.
    Refused {
        /// Why.
        cause: String,
        /// What to do.
        remedy: &'static str,
    },
}

impl From<Error> for Failure {
    fn from(cause: Error) -> Failure {
        Failure::Postgres(cause)
    }
}

impl From<PoolError> for Failure {
    fn from(cause: PoolError) -> Failure {
        match cause {
            PoolError::Backend(cause) => Failure::Postgres(cause),
            // All others are of a pool that nobody gives a connection back to, which ends with the process.
            other => Failure::Refused {
                cause: other.to_string(),
                remedy: "run again",
            },
        }
    }
}

impl Failure {
    /// Whether the same may go well a moment later: the connection is gone, the server is about to start or to stop, has
    /// no room for one more, or chose this transaction to give way to another.
    pub fn passes(&self) -> bool {
        match self {
            Failure::Silent(_) => true,
            Failure::Refused { .. } => false,
            Failure::Postgres(cause) => match cause.code() {
                Some(code) => code_passes(code),
                None => cause.is_closed() || is_of_the_network(cause),
            },
        }
    }

    /// What happened.
    pub fn cause(&self) -> String {
        match self {
            Failure::Silent(limit) => format!("it gave no answer for {} s", limit.as_secs()),
            Failure::Refused { cause, .. } => cause.clone(),
            Failure::Postgres(cause) => match cause.as_db_error() {
                Some(said) => format!("{} (SQLSTATE {})", said.message(), said.code().code()),
                None => chain(cause),
            },
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Failure::Silent(_) => {
                "see what else the server does, and run again: what was remembered stays"
            }
            Failure::Refused { remedy, .. } => remedy,
            Failure::Postgres(cause) => match cause.code() {
                Some(code) => remedy_of(code),
                None if self.passes() => {
                    "see that the server runs and can be reached, and run again: what was remembered stays"
                }
                None if is_of_a_type(cause) => FOREIGN,
                None => {
                    "look at the URL, the password ($PGPASSWORD, ~/.pgpass) and, for TLS, at sslmode and sslrootcert"
                }
            },
        }
    }
}

fn code_passes(code: &SqlState) -> bool {
    const SOME: [&SqlState; 8] = [
        &SqlState::ADMIN_SHUTDOWN,
        &SqlState::CRASH_SHUTDOWN,
        &SqlState::CANNOT_CONNECT_NOW,
        &SqlState::TOO_MANY_CONNECTIONS,
        &SqlState::T_R_SERIALIZATION_FAILURE,
        &SqlState::T_R_DEADLOCK_DETECTED,
        &SqlState::LOCK_NOT_AVAILABLE,
        &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT,
    ];
    // 08: exceptions of the connection.
    SOME.contains(&code) || code.code().starts_with("08")
}

fn remedy_of(code: &SqlState) -> &'static str {
    match code.code() {
        "28P01" | "28000" => {
            "look at the user's name and password ($PGPASSWORD, ~/.pgpass, or in the URL), and at the server's pg_hba.conf"
        }
        "3D000" => "make the database with createdb, or name another one in the URL",
        "42501" => {
            "let a role that may make the schema sigindex run first, and grant this one USAGE on that schema and SELECT, INSERT, UPDATE, DELETE on its tables"
        }
        // Tables, columns, types, functions and constraints that are missing, are others, or are there already.
        "42P01" | "42P07" | "42P10" | "42703" | "42704" | "42710" | "42804" | "42809" | "42830"
        | "42846" | "42883" | "3F000" | "23502" | "428C9" => FOREIGN,
        "57014" => {
            "the statement took longer than its time limit; see what else the server does, and run again: what was remembered stays"
        }
        "25006" => "the server only reads; name the primary in the URL",
        "22021" => "PostgreSQL keeps no text with zero bytes; give the file another name",
        code if code.starts_with("53") => {
            "make room on the server (disk, memory or connections), and run again: what was remembered stays"
        }
        _ => "look at the server's log, and run again: what was remembered stays",
    }
}

/// The words of an error and of what caused it, each once.
fn chain(error: &Error) -> String {
    let (mut said, mut next) = (error.to_string(), error.source());
    while let Some(cause) = next {
        let words = cause.to_string();
        if !said.contains(&words) {
            said = format!("{said}: {words}");
        }
        next = cause.source();
    }
    said
}

/// Whether a column has another type than those that sigindex made.
fn is_of_a_type(error: &Error) -> bool {
    let cause = error.source();
    cause.is_some_and(|cause| cause.is::<WrongType>() || cause.is::<WasNull>())
}

/// Whether the network is the cause, and not what came over it.
fn is_of_the_network(error: &Error) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        if let Some(cause) = cause.downcast_ref::<io::Error>() {
            use io::ErrorKind::{InvalidData, InvalidInput, PermissionDenied};
            return !matches!(cause.kind(), InvalidData | InvalidInput | PermissionDenied);
        }
        next = cause.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_of_the_servers_has_what_to_do_about_it() {
        for (code, words) in [
            ("28P01", "user's name and password"),
            ("28000", "user's name and password"),
            ("3D000", "createdb"),
            ("42501", "grant"),
            ("57014", "time limit"),
            ("25006", "primary"),
            ("22021", "zero bytes"),
            ("53100", "make room"),
            ("XX000", "server's log"),
        ] {
            let remedy = remedy_of(&SqlState::from_code(code));
            assert!(remedy.contains(words), "{code}: {remedy}");
        }
        for code in ["42P01", "3F000", "428C9"] {
            assert_eq!(remedy_of(&SqlState::from_code(code)), FOREIGN);
        }
    }

    #[test]
    fn what_passes_is_told_from_what_stays() {
        for (code, passes) in [
            ("57P01", true),
            ("57P03", true),
            ("40P01", true),
            ("08006", true),
            ("42501", false),
            ("53100", false),
        ] {
            assert_eq!(code_passes(&SqlState::from_code(code)), passes, "{code}");
        }
    }
}
