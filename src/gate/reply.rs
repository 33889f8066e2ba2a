//! Answers in the words of HTTP (RFC 9110, 9111, 9112): statuses, headers, ranges and conditions. Must not know how
//! an answer came to be, nor how its bytes are sent.

use bytes::Bytes;
use hyper::body::Body as _;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use super::answer::{Content, Failure, Refusal};
use super::body::GateBody;
use super::range::{Wanted, wanted};
use crate::record::hex;

/// The most bytes of a sentence in the first line of a response.
const LONGEST_REASON: usize = 400;

/// What the gate's own pages may do: nothing but look as they do.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; \
                           form-action 'none'";

pub(super) type Reply = Response<GateBody>;

/// A file, or as much of it as is asked for.
pub(super) fn serve(content: Content, path: &str, asked: &HeaderMap) -> Reply {
    let tag = format!("\"{}\"", hex(&content.sha256));
    let (status, body, range) = if is_known(asked, &tag) {
        (StatusCode::NOT_MODIFIED, GateBody::empty(), None)
    } else {
        match wanted(asked, &tag, content.length) {
            Wanted::Whole => {
                let (length, place) = (content.length, content.place);
                (StatusCode::OK, GateBody::part(place, 0, length), None)
            }
            Wanted::Part { from, length } => {
                let last = from.saturating_add(length).saturating_sub(1);
                let range = format!("bytes {from}-{last}/{}", content.length);
                let body = GateBody::part(content.place, from, length);
                (StatusCode::PARTIAL_CONTENT, body, Some(range))
            }
            Wanted::Beyond => {
                let range = format!("bytes */{}", content.length);
                let status = StatusCode::RANGE_NOT_SATISFIABLE;
                (status, GateBody::empty(), Some(range))
            }
        }
    };
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    let is_whole = status != StatusCode::RANGE_NOT_SATISFIABLE;
    put(&mut reply, header::ETAG, &tag);
    put(&mut reply, header::CACHE_CONTROL, lifetime(path));
    put(&mut reply, header::ACCEPT_RANGES, "bytes");
    put(&mut reply, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    // A channel's page has no business with the gate's own, nor with other channels.
    put(
        &mut reply,
        header::CONTENT_SECURITY_POLICY,
        "sandbox allow-scripts",
    );
    if is_whole && status != StatusCode::NOT_MODIFIED {
        put(&mut reply, header::CONTENT_TYPE, media_type(path));
    }
    if let Some(range) = range {
        put(&mut reply, header::CONTENT_RANGE, &range);
    }
    reply
}

/// How many bytes of content an answer has.
pub(super) fn length(reply: &Reply) -> u64 {
    reply.body().size_hint().exact().unwrap_or_default()
}

/// A page of the gate's own.
pub(super) fn page(html: String) -> Reply {
    let mut reply = own(StatusCode::OK, "text/html; charset=utf-8", html);
    put(&mut reply, header::CONTENT_SECURITY_POLICY, PAGE_POLICY);
    reply
}

/// JSON of the gate's own.
pub(super) fn json(text: String) -> Reply {
    own(StatusCode::OK, "application/json", text)
}

/// A refusal. Its sentence stands in the first line too: conda, and what is built on reqwest, show that to their
/// users, and not the body.
pub(super) fn refuse(refusal: &Refusal, asked: &HeaderMap) -> Reply {
    sentence(
        StatusCode::FORBIDDEN,
        refusal.kind.as_str(),
        &refusal.sentence,
        asked,
    )
}

/// A failure, told in the same way.
pub(super) fn fail(failure: &Failure, asked: &HeaderMap) -> Reply {
    let status = StatusCode::from_u16(failure.status());
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    sentence(status, "failed", failure.told(), asked)
}

/// 404.
pub(super) fn absent() -> Reply {
    own(
        StatusCode::NOT_FOUND,
        "text/plain; charset=utf-8",
        "not found\n".to_owned(),
    )
}

/// 405.
pub(super) fn only_reads() -> Reply {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let text = "the gate answers GET and HEAD alone\n".to_owned();
    let mut reply = own(status, "text/plain; charset=utf-8", text);
    put(&mut reply, header::ALLOW, "GET, HEAD");
    reply
}

/// 421: a page from elsewhere, whose name was bent to this machine, gets nothing.
pub(super) fn misdirected() -> Reply {
    let text = "this gate is called by an address of this machine, or localhost\n".to_owned();
    own(
        StatusCode::MISDIRECTED_REQUEST,
        "text/plain; charset=utf-8",
        text,
    )
}

fn sentence(status: StatusCode, kind: &str, text: &str, asked: &HeaderMap) -> Reply {
    let mut reply = if accepts_json(asked) {
        let body = serde_json::json!({"error": kind, "message": text});
        own(status, "application/json", format!("{body}\n"))
    } else {
        own(status, "text/plain; charset=utf-8", format!("{text}\n"))
    };
    if let Ok(reason) = hyper::ext::ReasonPhrase::try_from(reason(text)) {
        reply.extensions_mut().insert(reason);
    }
    reply
}

/// A sentence as it may stand in the first line of a response.
fn reason(text: &str) -> String {
    let plain = |c: char| match c {
        ' '..='~' => c,
        '\n' | '\t' => ' ',
        _ => '?',
    };
    text.chars().map(plain).take(LONGEST_REASON).collect()
}

fn own(status: StatusCode, kind: &'static str, text: String) -> Reply {
    let mut reply = Response::new(GateBody::bytes(Bytes::from(text)));
    *reply.status_mut() = status;
    put(&mut reply, header::CONTENT_TYPE, kind);
    put(&mut reply, header::CACHE_CONTROL, "no-store");
    put(&mut reply, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    reply
}

fn put(reply: &mut Reply, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        reply.headers_mut().insert(name, value);
    }
}

/// Whether the client names JSON itself.
fn accepts_json(asked: &HeaderMap) -> bool {
    let accepts = asked.get_all(header::ACCEPT).iter();
    let mut texts = accepts.filter_map(|value| value.to_str().ok());
    texts.any(|text| text.contains("application/json"))
}

/// Whether the client has these very bytes (If-None-Match, which compares weakly).
fn is_known(asked: &HeaderMap, tag: &str) -> bool {
    let known = asked.get_all(header::IF_NONE_MATCH).iter();
    let known = known.filter_map(|value| value.to_str().ok());
    known
        .flat_map(|text| text.split(','))
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

/// What names its own bytes never changes; all else is asked for again each time.
fn lifetime(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or_default();
    let first = name.split('.').next().unwrap_or_default();
    let is_hash = first.len() == 64 && first.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    }
}

fn media_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or_default();
    match name.rsplit('.').next().unwrap_or_default() {
        "json" => "application/json",
        "zst" => "application/zstd",
        "html" | "" => "text/html; charset=utf-8",
        "xml" => "application/rss+xml",
        "sig" | "pub" => "text/plain; charset=utf-8",
        "bz2" if !name.ends_with(".tar.bz2") => "application/x-bzip2",
        _ => "application/octet-stream",
    }
}
