//! Printing. Owns stdout and stderr: a reader that went away is no failure, and no name from outside
//! brings control characters to a terminal.

use std::io::{ErrorKind, Write as _};

use crate::error::Error;
use crate::shown::{line, lines};

/// The most characters of an error.
const MESSAGE: usize = 8_000;

/// A line, or several, of what was asked for.
///
/// # Errors
/// When it can't be written, as on a full disk; a reader that went away has read enough.
pub fn result(text: &str) -> Result<(), Error> {
    bytes(lines(text).as_bytes())
}

/// Bytes that were asked for, as they are.
///
/// # Errors
/// As [`result`].
pub fn bytes(bytes: &[u8]) -> Result<(), Error> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    match written {
        Err(cause) if cause.kind() != ErrorKind::BrokenPipe => {
            let (path, operation) = ("standard output".to_owned(), "write the result");
            Err(Error::File {
                path,
                operation,
                cause,
            })
        }
        _ => Ok(()),
    }
}

/// A message beside the result.
pub fn message(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", lines(text));
}

/// A warning, which is one line.
pub fn warning(text: &str) {
    message(&format!("warning: {}", line(text)));
}

/// An error.
pub fn error(text: &str) {
    // Texts of any length may be quoted in it.
    let shown: String = text.chars().take(MESSAGE).collect();
    let cut = if shown.len() < text.len() { "…" } else { "" };
    message(&format!("error: {shown}{cut}"));
}
