//! A channel behind a URL. Owns how its files are asked for: the address of each, credentials, redirects, and how
//! slow a server may be; must not know what the files are.

use std::io::{self, Read as _, Write};
use std::time::{Duration, Instant};

use reqwest::blocking::{Client, Response};
use reqwest::header::{ACCEPT_ENCODING, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{StatusCode, Url};

use super::credentials::{self, Login};
use super::{PATIENCE, Upstream, UpstreamError, UpstreamFault};

/// The bytes that are passed on at once.
const CHUNK: usize = 256 << 10;

/// The most redirects for one file.
const REDIRECTS: usize = 5;

/// How slow a server may be. Who sends less keeps a client waiting for ever (TUF specification 1.5.2, slow
/// retrieval).
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How long a connection may take to come about.
    pub connect: Duration,
    /// How long nothing may come, and the time over which the least rate is held against.
    pub window: Duration,
    /// The least rate over each window, in bytes per second.
    pub least: u64,
    /// The time that every file has, however small.
    pub whole: Duration,
    /// The least rate on average, in bytes per second of the largest size that is allowed, beyond that time.
    pub average: u64,
}

impl Pace {
    /// The pace of a client that waits so long for a word.
    pub fn within(patience: Duration) -> Pace {
        Pace {
            connect: patience.min(Duration::from_secs(10)),
            window: patience,
            least: 1 << 10,
            whole: patience.saturating_mul(2),
            average: 8 << 10,
        }
    }
}

impl Default for Pace {
    fn default() -> Self {
        Pace::within(PATIENCE)
    }
}

/// A channel behind `http://` or `https://`.
#[derive(Debug)]
pub struct HttpUpstream {
    name: String,
    base: Url,
    client: Client,
    pace: Pace,
}

impl HttpUpstream {
    /// Takes a URL, with credentials in it or in `~/.netrc`. Proxies are those of the environment, certificates
    /// those of the system. Nothing is asked yet.
    ///
    /// # Errors
    /// When it is no URL of a channel, or `~/.netrc` is not readable as such.
    pub fn open(url: &str) -> Result<HttpUpstream, UpstreamError> {
        HttpUpstream::at_pace(url, Pace::default())
    }

    /// As [`HttpUpstream::open`], with other patience.
    ///
    /// # Errors
    /// As there.
    pub fn at_pace(url: &str, pace: Pace) -> Result<HttpUpstream, UpstreamError> {
        // What could not be read as a URL may hold a password all the same, so it is not shown.
        let fail = |place: &str, why: String| UpstreamError {
            place: place.to_owned(),
            fault: UpstreamFault::Unreachable(why),
        };
        let parsed = Url::parse(url).map_err(|cause| {
            let why = format!("the channel's URL can't be read ({cause}); write https://HOST/PATH");
            fail("URL", why)
        })?;
        let (mut base, login) = credentials::split(&parsed);
        let name = credentials::masked(&base);
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            let why = "a channel's URL begins with http:// or https:// and a host".to_owned();
            return Err(fail(&name, why));
        }
        if base.query().is_some() || base.fragment().is_some() {
            let why = "a channel's URL has neither `?` nor `#`".to_owned();
            return Err(fail(&name, why));
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let login = match login {
            Some(login) => Some(login),
            None => credentials::from_netrc(&base).map_err(|why| fail(&name, why))?,
        };
        let client = client(login.as_ref(), &pace)
            .map_err(|cause| fail(&name, format!("no client can be made: {}", root(&cause))))?;
        Ok(HttpUpstream {
            name: name.trim_end_matches('/').to_owned(),
            base,
            client,
            pace,
        })
    }

    /// The URL of a file; `None` for what no file in a channel can be called.
    fn url(&self, path: &str) -> Option<Url> {
        let plain = |part: &str| !matches!(part, "" | "." | "..");
        if !path.split('/').all(plain) {
            return None;
        }
        let parts: Vec<String> = path.split('/').map(encoded).collect();
        Url::parse(&format!("{}{}", self.base, parts.join("/"))).ok()
    }

    fn error(&self, path: &str, fault: UpstreamFault) -> UpstreamError {
        UpstreamError {
            place: format!("{}/{path}", self.name),
            fault,
        }
    }

    fn ask(&self, url: Url) -> Result<Option<Response>, UpstreamFault> {
        let first = self.client.get(url.clone()).send();
        let response = match first {
            // A connection that was kept may end just as it is used again: that says nothing of the file.
            Err(cause) if is_broken_off(&cause) => self.client.get(url).send(),
            response => response,
        };
        let response = response.map_err(|cause| self.fault_of(&cause))?;
        match response.status() {
            StatusCode::OK => Ok(Some(response)),
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            status => Err(UpstreamFault::Status(status.as_u16())),
        }
    }

    /// Why no answer came; never with the URL, which may hold a token.
    fn fault_of(&self, cause: &reqwest::Error) -> UpstreamFault {
        let mut source = std::error::Error::source(cause);
        while let Some(error) = source {
            if let Some(away) = error.downcast_ref::<Away>() {
                return away.fault();
            }
            source = error.source();
        }
        let seconds = self.pace.window.as_secs_f32();
        match () {
            () if cause.is_connect() && cause.is_timeout() => {
                let seconds = self.pace.connect.as_secs_f32();
                UpstreamFault::TooSlow(format!("no connection within {seconds} s"))
            }
            () if cause.is_timeout() => {
                UpstreamFault::TooSlow(format!("no answer within {seconds} s"))
            }
            () => UpstreamFault::Unreachable(root(cause)),
        }
    }

    fn copy(&self, mut from: Response, cap: u64, to: &mut dyn Write) -> Result<u64, UpstreamFault> {
        let mut clock = Clock::start(self.pace, cap);
        let mut chunk = vec![0; CHUNK];
        let mut total: u64 = 0;
        loop {
            let read = match from.read(&mut chunk) {
                Ok(0) => return Ok(total),
                Ok(read) => read,
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
                Err(cause) => return Err(broken(&cause, total, &self.pace)),
            };
            let count = u64::try_from(read).unwrap_or(u64::MAX);
            total = total.saturating_add(count);
            if total > cap {
                return Err(UpstreamFault::TooLarge { cap });
            }
            clock.came(count)?;
            let bytes = chunk.get(..read).unwrap_or_default();
            to.write_all(bytes).map_err(UpstreamFault::Sink)?;
        }
    }

    fn fetch(
        &self,
        path: &str,
        cap: u64,
        to: &mut dyn Write,
    ) -> Result<Option<u64>, UpstreamFault> {
        let Some(url) = self.url(path) else {
            return Ok(None);
        };
        let Some(response) = self.ask(url)? else {
            return Ok(None);
        };
        if response.content_length().is_some_and(|length| length > cap) {
            return Err(UpstreamFault::TooLarge { cap });
        }
        self.copy(response, cap, to).map(Some)
    }
}

impl Upstream for HttpUpstream {
    fn name(&self) -> &str {
        &self.name
    }

    fn fetch_to(
        &self,
        path: &str,
        cap: u64,
        to: &mut dyn Write,
    ) -> Result<Option<u64>, UpstreamError> {
        let fetched = self.fetch(path, cap, to);
        fetched.map_err(|fault| self.error(path, fault))
    }
}

fn client(login: Option<&Login>, pace: &Pace) -> Result<Client, reqwest::Error> {
    let mut headers = HeaderMap::new();
    // The bytes are hashed as they lie there.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(value) = login.and_then(|login| HeaderValue::from_str(&login.basic()).ok()) {
        let mut value = value;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Client::builder()
        .user_agent(concat!("sigindex/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .referer(false)
        .redirect(Policy::custom(follow))
        .connect_timeout(pace.connect)
        // For the head of an answer, and for each piece of its body.
        .timeout(pace.window)
        .build()
}

/// A redirect that is not followed.
#[derive(Debug, thiserror::Error)]
enum Away {
    #[error("another host")]
    Host(String),
    #[error("too many redirects")]
    TooMany,
}

impl Away {
    fn fault(&self) -> UpstreamFault {
        match self {
            Away::Host(to) => UpstreamFault::Redirected(to.clone()),
            Away::TooMany => UpstreamFault::Unreachable(format!(
                "the server redirects more than {REDIRECTS} times"
            )),
        }
    }
}

fn follow(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let Some(from) = attempt.previous().last() else {
        return attempt.stop();
    };
    if !stays(from, attempt.url()) {
        let (to, _) = credentials::split(attempt.url());
        return attempt.error(Away::Host(credentials::masked(&to)));
    }
    match attempt.previous().len() {
        steps if steps > REDIRECTS => attempt.error(Away::TooMany),
        _ => attempt.follow(),
    }
}

/// Whether a redirect stays with the channel's host: the same scheme, host and port, or the step from http to https
/// on their own ports.
fn stays(from: &Url, to: &Url) -> bool {
    let same_host = from.host_str() == to.host_str();
    let upgrade = from.scheme() == "http"
        && to.scheme() == "https"
        && from.port().is_none()
        && to.port().is_none();
    let same =
        from.scheme() == to.scheme() && from.port_or_known_default() == to.port_or_known_default();
    same_host && (same || upgrade)
}

/// Holds the bytes that come against the pace.
struct Clock {
    pace: Pace,
    begun: Instant,
    most: Duration,
    window_begun: Instant,
    in_window: u64,
}

impl Clock {
    fn start(pace: Pace, cap: u64) -> Clock {
        let now = Instant::now();
        let more = Duration::from_secs(cap / pace.average.max(1));
        Clock {
            pace,
            begun: now,
            most: pace.whole.saturating_add(more),
            window_begun: now,
            in_window: 0,
        }
    }

    fn came(&mut self, bytes: u64) -> Result<(), UpstreamFault> {
        self.in_window = self.in_window.saturating_add(bytes);
        if self.begun.elapsed() > self.most {
            let seconds = self.most.as_secs();
            let why = format!("it did not come whole within {seconds} s");
            return Err(UpstreamFault::TooSlow(why));
        }
        let window = self.window_begun.elapsed();
        if window >= self.pace.window {
            let wanted = self.pace.least as f64 * window.as_secs_f64();
            if (self.in_window as f64) < wanted {
                let (least, seconds) = (self.pace.least, window.as_secs_f32());
                let why = format!("less than {least} bytes per second came over {seconds:.0} s");
                return Err(UpstreamFault::TooSlow(why));
            }
            self.window_begun = Instant::now();
            self.in_window = 0;
        }
        Ok(())
    }
}

/// Whether a request went out, and the connection ended before an answer began.
fn is_broken_off(cause: &reqwest::Error) -> bool {
    cause.is_request() && !cause.is_connect() && !cause.is_timeout() && !cause.is_redirect()
}

/// Why a body broke off.
fn broken(cause: &io::Error, came: u64, pace: &Pace) -> UpstreamFault {
    let inner = cause.get_ref().and_then(|it| it.downcast_ref());
    let timeout = inner.is_some_and(reqwest::Error::is_timeout);
    if timeout || cause.kind() == io::ErrorKind::TimedOut {
        let seconds = pace.window.as_secs_f32();
        return UpstreamFault::TooSlow(format!("nothing came for {seconds} s"));
    }
    let why = inner.map_or_else(|| cause.to_string(), root);
    UpstreamFault::Unreachable(format!("the answer broke off after {came} bytes: {why}"))
}

/// The innermost cause: the outer ones repeat it, and name URLs.
fn root(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    match innermost.downcast_ref::<reqwest::Error>() {
        Some(_) => "no connection, or an answer that is no HTTP".to_owned(),
        None => innermost.to_string(),
    }
}

/// One part of a path: everything but unreserved characters (RFC 3986, 2.3) as `%XX`, as some hosts take `+` for a
/// space.
fn encoded(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests;
