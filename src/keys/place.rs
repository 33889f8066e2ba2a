//! Where a channel is, in one normal form: two texts that lead a client to the same channel are the same place.
//! Owns the form, which holds no credentials; fetches nothing and must not know what is in a channel.

use std::fmt;
use std::net::Ipv6Addr;
use std::path::{Component, Path, PathBuf};

use super::KeyError;
use super::name::shown;
use crate::storage::is_object_url;
use crate::upstream::{is_meant_as_url, without_secrets};

/// What no channel's URL needs: RFC 3986 has none of it bare.
const FORBIDDEN: &[char] = &[' ', '"', '<', '>', '\\', '^', '`', '{', '|', '}'];

/// A channel's place: a URL (RFC 3986, 6.2.2 and 6.2.3) with scheme and host in lower case, without credentials,
/// conda token, default port and final slash; or the path of a folder, absolute and without links.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelPlace(String);

impl ChannelPlace {
    /// Reads a URL (`http`, `https`, `file`, or one of object storage) or a folder's path.
    ///
    /// # Errors
    /// [`KeyError::Channel`] for anything that two programs could read in two ways, such as `..` in a URL.
    pub fn parse(text: &str) -> Result<ChannelPlace, KeyError> {
        let refused = |why: String| KeyError::Channel {
            text: shown(&without_secrets(text)),
            why,
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return match is_meant_as_url(text) {
                true => Err(refused(NO_SLASHES.to_owned())),
                false => folder(Path::new(text)).map_err(refused),
            };
        };
        match scheme.to_ascii_lowercase().as_str() {
            "file" => file_url(rest).and_then(|path| folder(&path)),
            "http" => url("http", "80", rest),
            "https" => url("https", "443", rest),
            scheme if is_object_url(text) => in_bucket(scheme, rest),
            _ => {
                Err("a channel is a folder, or a URL of http, https, s3, gs, az or file".to_owned())
            }
        }
        .map_err(refused)
    }

    /// Reads the normal form itself, and never asks the file system.
    pub(super) fn parse_normal(text: &str) -> Result<ChannelPlace, String> {
        let is_plain =
            |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        let is_normal = match text.starts_with('/') {
            true => Path::new(text).components().all(is_plain),
            false => text.contains("://") && Self::parse(text).is_ok_and(|it| it.0 == text),
        };
        match is_normal {
            true => Ok(ChannelPlace(text.to_owned())),
            false => Err(format!(
                "`{}` is no channel in its normal form",
                shown(text)
            )),
        }
    }

    /// The normal form, fit to be shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder, unless the channel is behind a URL.
    pub fn folder(&self) -> Option<&Path> {
        self.0.starts_with('/').then(|| Path::new(&self.0))
    }
}

impl fmt::Display for ChannelPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&crate::shown::shown(&self.0))
    }
}

/// The path that a `file` URL names (RFC 8089), behind its `file://`.
fn file_url(rest: &str) -> Result<PathBuf, String> {
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if !(host.is_empty() || host.eq_ignore_ascii_case("localhost")) || path.is_empty() {
        return Err("a folder of this machine is written file:///PATH".to_owned());
    }
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let (decoded, after) = match byte {
            b'%' => escaped(after)?,
            b'?' | b'#' => return Err(NO_QUERY.to_owned()),
            byte => (*byte, after),
        };
        bytes.push(decoded);
        rest = after;
    }
    match String::from_utf8(bytes) {
        Ok(path) if !path.contains('\0') => Ok(path.into()),
        _ => Err("its path is not UTF-8".to_owned()),
    }
}

/// A folder, without links as far as it is there.
fn folder(path: &Path) -> Result<ChannelPlace, String> {
    let whole = match path.canonicalize() {
        Ok(whole) => whole,
        Err(_) if path.components().any(|part| part == Component::ParentDir) => {
            return Err("the folder is not there, and its path has `..` in it".to_owned());
        }
        Err(_) => std::path::absolute(path)
            .map_err(|error| error.to_string())?
            .components()
            .collect(),
    };
    let text = whole.to_str().ok_or("its path is not UTF-8")?;
    Ok(ChannelPlace(text.to_owned()))
}

const NO_SLASHES: &str = "it is no URL, which has two slashes behind its scheme; before a folder that is called so write `./`";

const NO_QUERY: &str = "a channel's URL has no `?` and no `#`";

/// A URL behind its scheme.
fn url(scheme: &str, default_port: &str, rest: &str) -> Result<ChannelPlace, String> {
    if rest.contains(['?', '#']) {
        return Err(NO_QUERY.to_owned());
    }
    if !rest.bytes().all(|b| b.is_ascii_graphic()) || rest.contains(FORBIDDEN) {
        return Err(
            "write what is not plain ASCII percent-encoded, and in the host's name as `xn--…`"
                .to_owned(),
        );
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // Credentials say who asks, not what is there.
    let server = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = host_and_port(server)?;
    let port = match port.trim_start_matches('0') {
        "" if port.is_empty() => String::new(),
        port if port == default_port => String::new(),
        port if port.parse::<u16>().is_ok() => format!(":{port}"),
        _ => return Err("its port is no number from 1 to 65535".to_owned()),
    };
    let path = without_token(normal_path(path)?);
    if without_token(path.clone()) != path {
        return Err("what follows conda's token (/t/TOKEN) looks like another one".to_owned());
    }
    Ok(ChannelPlace(format!("{scheme}://{host}{port}{path}")))
}

/// A place in object storage: what follows the bucket is a name like any other, and nothing in it is escaped.
fn in_bucket(scheme: &str, rest: &str) -> Result<ChannelPlace, String> {
    let rest = rest.trim_end_matches('/');
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() || bucket.contains(['@', ':']) || rest.contains(['?', '#']) {
        return Err("it is not written as a bucket and a prefix, s3://BUCKET/PREFIX".to_owned());
    }
    let is_odd = |part: &str| matches!(part, "" | "." | "..");
    if (!prefix.is_empty() && prefix.split('/').any(is_odd)) || rest.contains(char::is_control) {
        return Err("its prefix has empty parts, `.`, `..` or control characters".to_owned());
    }
    Ok(ChannelPlace(format!("{scheme}://{rest}")))
}

fn host_and_port(server: &str) -> Result<(String, &str), String> {
    if let Some(rest) = server.strip_prefix('[') {
        let no_address = || "what stands in [ ] is no IPv6 address".to_owned();
        let (address, rest) = rest.split_once(']').ok_or_else(no_address)?;
        let address: Ipv6Addr = address.parse().map_err(|_| no_address())?;
        let port = match rest {
            "" => "",
            rest => rest.strip_prefix(':').ok_or_else(no_address)?,
        };
        return Ok((format!("[{address}]"), port));
    }
    let (host, port) = server.split_once(':').unwrap_or((server, ""));
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    match !host.is_empty() && host.bytes().all(fits) && port.bytes().all(|b| b.is_ascii_digit()) {
        true => Ok((host.to_ascii_lowercase(), port)),
        false => Err("it names no host".to_owned()),
    }
}

/// A server's path without conda's token (`/t/TOKEN`).
fn without_token(path: String) -> String {
    match path.strip_prefix("/t/").map(|rest| rest.split_once('/')) {
        Some(Some((_, rest))) => format!("/{rest}"),
        Some(None) => String::new(),
        None => path,
    }
}

/// A path of plain segments without a final slash.
fn normal_path(path: &str) -> Result<String, String> {
    let path = path.trim_matches('/');
    let segments = path.split('/').filter(|_| !path.is_empty());
    let segments: Vec<String> = segments.map(normal_segment).collect::<Result<_, _>>()?;
    Ok(segments
        .iter()
        .fold(String::new(), |path, segment| path + "/" + segment))
}

fn normal_segment(segment: &str) -> Result<String, String> {
    let mut normal = String::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = match byte {
            b'%' => {
                let (byte, after) = escaped(after)?;
                match byte {
                    b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => normal.push(b.into()),
                    b'/' | b'\\' | 0..=0x1f | 0x7f => {
                        return Err("it has an escaped slash or control character".to_owned());
                    }
                    b => normal.push_str(&format!("%{b:02X}")),
                }
                after
            }
            byte => {
                normal.push((*byte).into());
                after
            }
        };
    }
    match normal.as_str() {
        "" | "." | ".." => {
            Err("its path has empty parts, or `.` or `..`; write it without".to_owned())
        }
        _ => Ok(normal),
    }
}

/// The byte that two hexadecimal digits behind a `%` stand for, and what follows them.
fn escaped(after: &[u8]) -> Result<(u8, &[u8]), String> {
    let digits = after.split_at_checked(2);
    let byte = digits.and_then(|(digits, after)| {
        let plain = digits.iter().all(u8::is_ascii_hexdigit);
        let digits = std::str::from_utf8(digits).ok().filter(|_| plain)?;
        Some((u8::from_str_radix(digits, 16).ok()?, after))
    });
    byte.ok_or_else(|| "a `%` in it is not followed by two hexadecimal digits".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn what_leads_to_the_same_channel_is_the_same() {
        for (normal, others) in [
            (
                "https://example.org/channel",
                &[
                    "https://example.org/channel",
                    "HTTPS://Example.ORG/channel/",
                    "https://example.org:443/channel//",
                    "https://example.org:/channel",
                    "https://example.org:0443/channel",
                    "https://user:se@cret@example.org/channel",
                    "https://example.org/t/to-ken/channel",
                    "https://example.org/%63hannel",
                ][..],
            ),
            (
                "http://example.org",
                &["http://example.org:80/", "http://example.org/t/x"],
            ),
            ("http://example.org:443/a", &["http://example.org:443/a"]),
            ("s3://bucket/a/b", &["S3://bucket/a/b/"]),
            ("s3://bucket/t/a/b", &["s3://bucket/t/a/b"]),
            ("gs://b/a b/%41", &["GS://b/a b/%41//"]),
            ("http://[::1]:7423/a", &["http://[0:0::1]:7423/a/"]),
            ("https://h/a%20b/%C3%A4~", &["https://h/a%20b/%c3%a4%7e"]),
        ] {
            for other in others {
                let place = ChannelPlace::parse(other).expect(other);
                assert_eq!(place.as_str(), normal, "{other}");
                assert_eq!(place.folder(), None);
            }
            let stored = ChannelPlace::parse_normal(normal).unwrap();
            assert_eq!(stored.to_string(), normal);
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for text in [
            "ftp://example.org/a",
            "ftp://host/a",
            "https://",
            "https:///a",
            "https://user@/a",
            "https://example.org/a/../b",
            "https://example.org/a/%2e%2E/b",
            "https://example.org/a//b",
            "https://example.org/a%2fb",
            "https://example.org/a%5Cb",
            "https://example.org/a\\b",
            "https://example.org/a?b",
            "https://example.org/t/token/t/a",
            "s3://bucket//a",
            "s3://bucket/../a",
            "s3://id:secret@bucket/a",
            "az://box/a?sig=secret",
            "s3:///a",
            "https://example.org/a#b",
            "https://example.org/a%2",
            "https://example.org/a%+1",
            "https://example.org/a%é",
            "https://example.org:0/a",
            "https://example.org:65536/a",
            "https://example.org:8x/a",
            "https://[::1/a",
            "https://[::1]8/a",
            "https://[::g]/a",
            "https://exa mple.org/a",
            "https://ex%61mple.org/a",
            "https://bücher.example/a",
            "https://example.org/a\n",
            "file://server/a",
            "file://",
            "file:///a%2",
            "file:///a%00",
            "/no/such/../folder",
            "",
        ] {
            let refused = ChannelPlace::parse(text);
            assert!(matches!(refused, Err(KeyError::Channel { .. })), "{text}");
        }
        for text in [
            "https://h/a/",
            "HTTPS://h/a",
            "a",
            "./a",
            "/a/../b",
            "file:///a",
        ] {
            assert!(ChannelPlace::parse_normal(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_error_tells_a_secret() {
        for text in [
            "https://me:secret@example.org/a/../b",
            "https://example.org/t/secret/a/../b",
            "https://example.org/a?token=secret",
            "ftp://me:secret@example.org/t/secret",
            "https:/me:secret@example.org/a",
        ] {
            let error = ChannelPlace::parse(text).unwrap_err().to_string();
            assert!(
                error.contains("example.org") && !error.contains("secret"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_folder_is_known_by_its_real_path() {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("a b")).unwrap();
        std::os::unix::fs::symlink("a b", root.join("link")).unwrap();
        let real = root.join("a b");
        let url = format!("file://{}/a%20b/", root.display());
        for text in [
            real.display().to_string(),
            root.join("link/").display().to_string(),
            root.join("link/../link").display().to_string(),
            url.replace("file://", "FILE://localhost"),
            url,
        ] {
            let place = ChannelPlace::parse(&text).expect(&text);
            assert_eq!(place.folder(), Some(real.as_path()), "{text}");
            assert!(ChannelPlace::parse_normal(place.as_str()).is_ok());
        }
        let gone = ChannelPlace::parse(&format!("{}/gone/", root.display())).unwrap();
        assert_eq!(gone.folder(), Some(root.join("gone").as_path()));
    }
}
