//! What goes wrong with object storage, in the words of this room. Owns what an operator is told: the object, what was
//! being done, the cause as the store gives it, and what to do about it; never a header or a credential.

use std::error::Error as _;
use std::fmt::Write as _;
use std::io;

use object_store::Error;
use object_store::client::{HttpError, HttpErrorKind};

use crate::storage::StorageError;

/// The most of a cause that is shown, in characters.
const MOST_SHOWN: usize = 300;

/// What is said of an answer that has fewer bytes than it should have.
pub const EARLY: &str = "the store's answer ended too early";

/// What an error of credentials has for its path.
pub const CREDENTIALS: &str = "credentials";

/// An object that is not the one any more that was first seen.
#[derive(Debug, thiserror::Error)]
#[error("it was replaced or removed while it was read")]
pub struct Replaced;

/// What a failure means for whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// There is no such object.
    Absent,
    /// The condition of the request did not hold.
    Refused,
    /// Whether it was done is not known, or the store could not do it at that moment; it may be asked again.
    Unsure,
    /// No answer came, perhaps because there is no store; it may be asked again.
    Unanswered,
    /// There were no credentials to make a request with: what hands them out did not.
    NoCredentials,
    /// It can't be done.
    Failed,
}

/// What a failure means.
pub fn meaning(error: &Error) -> Meaning {
    match error {
        Error::NotFound { .. } if code(&innermost(error)).as_deref() != Some("NoSuchBucket") => {
            Meaning::Absent
        }
        Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotModified { .. } => {
            Meaning::Refused
        }
        // A stream that is begun again gives its answers another way.
        Error::Generic { .. } if status(&innermost(error)) == Some(412) => Meaning::Refused,
        Error::Generic { .. } => match transport(error) {
            Some(HttpErrorKind::Connect | HttpErrorKind::Timeout) => Meaning::Unanswered,
            Some(_) => Meaning::Unsure,
            None if may_pass(&innermost(error)) => Meaning::Unsure,
            None => Meaning::Failed,
        },
        Error::Unauthenticated { path, .. } if path == CREDENTIALS => Meaning::NoCredentials,
        _ => Meaning::Failed,
    }
}

/// Whether what a store answered is a fault of its own, or that it has too much to do.
fn may_pass(text: &str) -> bool {
    const CODES: [&str; 6] = [
        "InternalError",
        "RequestTimeout",
        "ServerBusy",
        "ServiceUnavailable",
        "SlowDown",
        "TooManyRequests",
    ];
    let is_code = |code: &str| CODES.contains(&code);
    // Of many that were to be removed with one request, each has an answer of its own.
    let of_one = text
        .rsplit_once("(code: ")
        .map(|(_, code)| code.trim_end_matches(')'));
    text == EARLY
        || matches!(status(text), Some(408 | 429 | 500..))
        || code(text).as_deref().is_some_and(is_code)
        || of_one.is_some_and(is_code)
}

/// Whether the store says that it does not know such a request.
pub fn is_unknown_to(error: &Error) -> bool {
    if matches!(
        error,
        Error::NotImplemented { .. } | Error::NotSupported { .. }
    ) {
        return true;
    }
    let innermost = innermost(error);
    status(&innermost) == Some(501) || code(&innermost).as_deref() == Some("NotImplemented")
}

/// Whether the answer to a request for a listing is none.
pub fn is_no_listing(error: &Error) -> bool {
    matches!(error, Error::Generic { .. }) && error.to_string().contains("invalid list response")
}

/// Why something failed, as the store or the crate beneath says.
pub fn cause_of(error: &Error) -> String {
    cause(&innermost(error))
}

/// A failure, told.
pub fn told(shown: String, operation: &'static str, error: &Error) -> StorageError {
    if meaning(error) == Meaning::Absent {
        let cause = io::Error::from(io::ErrorKind::NotFound);
        return StorageError::Io {
            path: shown,
            operation,
            cause,
        };
    }
    let innermost = innermost(error);
    let (cause, remedy) = (cause(&innermost), remedy(error, &innermost));
    match meaning(error) {
        Meaning::Unsure | Meaning::Unanswered | Meaning::NoCredentials => {
            StorageError::Unavailable {
                path: shown,
                operation,
                cause,
                remedy,
            }
        }
        _ => StorageError::Object {
            path: shown,
            operation,
            cause,
            remedy,
        },
    }
}

/// What lies at the bottom of a failure, in the store's words.
fn innermost(error: &Error) -> String {
    let mut at: &dyn std::error::Error = error;
    while let Some(source) = at.source() {
        at = source;
    }
    at.to_string()
}

fn transport(error: &Error) -> Option<HttpErrorKind> {
    let mut at = error.source();
    while let Some(source) = at {
        if let Some(found) = source.downcast_ref::<HttpError>() {
            return Some(found.kind());
        }
        at = source.source();
    }
    None
}

/// What stands in an element of an answer.
fn element(text: &str, name: &str) -> Option<String> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    let (value, _) = rest.split_once(&format!("</{name}>"))?;
    Some(value.to_owned())
}

fn code(text: &str) -> Option<String> {
    element(text, "Code")
}

/// The status of an answer that was none.
fn status(text: &str) -> Option<u16> {
    let (_, rest) = text.split_once("status code: ")?;
    rest.split_whitespace().next()?.parse().ok()
}

fn cause(text: &str) -> String {
    let mut said = String::new();
    let mut rest = text;
    if let Some((_, after)) = text.split_once("status code: ") {
        let end = after.find(':').unwrap_or(after.len());
        let (status, body) = after.split_at_checked(end).unwrap_or((after, ""));
        said.push_str(status.trim());
        rest = body.trim_start_matches(':').trim();
    }
    // Of an answer in XML only what is meant for people: others of its elements hold what was signed.
    let told = match code(rest) {
        Some(code) => match element(rest, "Message") {
            Some(message) => format!("{code}: {message}"),
            None => code,
        },
        None if rest.contains('<') => String::new(),
        None => rest.lines().next().unwrap_or_default().to_owned(),
    };
    match (said.is_empty(), told.is_empty()) {
        (_, true) => {}
        (true, false) => said = told,
        (false, false) => {
            let _ = write!(said, " ({told})");
        }
    }
    let shown: String = said.chars().take(MOST_SHOWN).collect();
    shown
        .escape_debug()
        .to_string()
        .replace("\\\"", "\"")
        .replace("\\'", "'")
}

fn remedy(error: &Error, text: &str) -> &'static str {
    let code = code(text);
    if meaning(error) == Meaning::NoCredentials && status(text).is_some() {
        return "what hands out credentials to this machine does not; look at it, and run again";
    }
    match (code.as_deref(), status(text)) {
        (Some("NoSuchBucket" | "ContainerNotFound"), _) => {
            return "look at the bucket's name, and make the bucket where there is none";
        }
        (Some("RequestTimeTooSkewed"), _) => return "set the clock of this machine right",
        (
            Some(
                "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "ExpiredToken"
                | "InvalidToken"
                | "AuthFailure",
            ),
            _,
        )
        | (None, Some(401)) => {
            return "check the credentials in the environment or in the profile: they are wrong or have expired";
        }
        (Some("AuthorizationHeaderMalformed" | "PermanentRedirect"), _)
        | (None, Some(301 | 307)) => return REGION,
        (Some("SlowDown" | "TooManyRequests" | "ServerBusy"), _) | (_, Some(429 | 503)) => {
            return "the store turns requests away; run again later";
        }
        (Some("NotImplemented"), _) | (_, Some(501)) => {
            return "the store does not know such a request";
        }
        (_, Some(403)) => {
            return "see that these credentials may list, read, write and delete there";
        }
        (_, Some(500..)) => return "the store has a fault of its own; run again later",
        _ => {}
    }
    let all = format!("{error:?}");
    match transport(error) {
        _ if text.contains("without LOCATION") => REGION,
        _ if text.starts_with("Missing ")
            || all.contains("169.254.")
            || all.contains("/latest/api/token")
            || all.contains("metadata")
            || all.contains("oauth2") =>
        {
            "there are no credentials; give them in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_NAME and _KEY) or, for S3, in a profile"
        }
        _ if text.contains("URL scheme is not allowed") => {
            "the endpoint has no TLS; AWS_ALLOW_HTTP=true goes without, in a network that is yours alone"
        }
        Some(HttpErrorKind::Connect | HttpErrorKind::Request) => {
            "look whether the endpoint is right (AWS_ENDPOINT_URL) and can be reached from here"
        }
        Some(_) => NETWORK,
        None if text == EARLY => NETWORK,
        None => "look at the environment's settings for the store",
    }
}

const NETWORK: &str = "look whether the network holds, and run again";

const REGION: &str = "the bucket lies in another region; set AWS_REGION to it";

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    fn generic(text: &str) -> Error {
        Error::Generic {
            store: "S3",
            source: text.to_owned().into(),
        }
    }

    #[test]
    fn a_cause_is_told_without_what_was_signed() {
        let body = "Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?><Error><Code>SignatureDoesNotMatch</Code><Message>The signature\u{7} does not match</Message><AWSAccessKeyId>AKIA</AWSAccessKeyId><StringToSign>secret</StringToSign></Error>";
        let error = told("s3://b/x".to_owned(), "list", &generic(body)).to_string();
        assert_eq!(
            error,
            "s3://b/x: can't list: 403 Forbidden (SignatureDoesNotMatch: The signature\\u{7} does not match); check the credentials in the environment or in the profile: they are wrong or have expired"
        );
        for (text, word) in [
            (
                "status code: 404 Not Found: <Code>NoSuchBucket</Code>",
                "bucket's name",
            ),
            (
                "status code: 403 Forbidden: <Code>RequestTimeTooSkewed</Code>",
                "clock",
            ),
            ("status code: 403 Forbidden", "may list, read"),
            ("status code: 503 Service Unavailable: <html>", "later"),
            ("Received redirect without LOCATION, this", "AWS_REGION"),
        ] {
            let error = told("s3://b".to_owned(), "list", &generic(text)).to_string();
            assert!(error.contains(word) && !error.contains('<'), "{error}");
        }
        let long = told("s3://b".to_owned(), "list", &generic(&"x".repeat(9_999)));
        assert!(long.to_string().len() < 500);
    }

    #[test]
    fn what_may_pass_is_told_from_what_does_not() {
        for (text, expected) in [
            ("status code: 503 Service Unavailable: ", Meaning::Unsure),
            (
                "status code: 500 Internal Server Error: <html>",
                Meaning::Unsure,
            ),
            ("status code: 429 Too Many Requests", Meaning::Unsure),
            (
                "status code: 400 Bad Request: <Code>RequestTimeout</Code>",
                Meaning::Unsure,
            ),
            (
                "error response: <Error><Code>SlowDown</Code></Error>",
                Meaning::Unsure,
            ),
            (
                "request failed for key x: Reduce (code: SlowDown)",
                Meaning::Unsure,
            ),
            (
                "request failed for key x: No (code: AccessDenied)",
                Meaning::Failed,
            ),
            ("status code: 400 Bad Request: ", Meaning::Failed),
            ("Received redirect without LOCATION, this", Meaning::Failed),
        ] {
            let error = generic(text);
            assert_eq!(meaning(&error), expected, "{text}");
            let told = told("s3://b/x".to_owned(), "read", &error);
            let is_passing = matches!(told, StorageError::Unavailable { .. });
            assert_eq!(is_passing, expected == Meaning::Unsure, "{told}");
        }
    }

    #[test]
    fn what_is_not_there_is_absent() {
        let absent = |text: &str| Error::NotFound {
            path: "x".to_owned(),
            source: text.to_owned().into(),
        };
        assert!(told("s3://b/x".to_owned(), "read", &absent("no")).is_absent());
        let bucket = told(
            "s3://b/x".to_owned(),
            "read",
            &absent("<Code>NoSuchBucket</Code>"),
        );
        assert!(!bucket.is_absent());
        let again = generic("status code: 412 Precondition Failed");
        assert_eq!(meaning(&again), Meaning::Refused);
    }
}
