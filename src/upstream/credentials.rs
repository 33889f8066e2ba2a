//! Credentials for a channel's URL: in the URL, or in `~/.netrc`. Owns finding them and keeping them out of what
//! people see; must not know how they are sent.

use std::fmt;
use std::path::PathBuf;

use base64ct::{Base64, Encoding as _};
use reqwest::Url;
use zeroize::Zeroizing;

use super::decoded;
use crate::shown::shown;
use crate::storage::{OwnPath, read_own_text};

/// The largest `~/.netrc` that is read, in bytes.
const MAX_NETRC: u64 = 1 << 20;

/// What to do about one that can't be read.
const NETRC_REMEDY: &str = "mend it, or name another with $NETRC (/dev/null for none)";

/// A name and a password.
pub(super) struct Login {
    user: String,
    password: Zeroizing<String>,
}

impl Login {
    /// The value of `Authorization` (RFC 7617).
    pub(super) fn basic(&self) -> Zeroizing<String> {
        let pair = Zeroizing::new(format!("{}:{}", self.user, *self.password));
        Zeroizing::new(format!("Basic {}", Base64::encode_string(pair.as_bytes())))
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(..)")
    }
}

/// A URL without its user and password, and these.
pub(super) fn split(url: &Url) -> (Url, Option<Login>) {
    let login = match (url.username(), url.password()) {
        ("", None) => None,
        (user, password) => Some(Login {
            user: decoded(user),
            password: Zeroizing::new(decoded(password.unwrap_or_default())),
        }),
    };
    let mut bare = url.clone();
    // Neither fails on a URL that has a host, and one without has nothing to take out.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    (bare, login)
}

/// A URL as people may see it: a token in its path (`/t/TOKEN/`) is not shown, nor what stands behind `?`.
pub(super) fn masked(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let mut parts: Vec<&str> = url.path().split('/').collect();
    for at in 1..parts.len() {
        let behind_t = at.checked_sub(1).and_then(|before| parts.get(before)) == Some(&"t");
        if let Some(part) = parts.get_mut(at)
            && behind_t
            && !part.is_empty()
        {
            *part = "***";
        }
    }
    let path = parts.join("/");
    url.set_path(&path);
    url.to_string()
}

/// What `$NETRC`, else `~/.netrc`, has for the URL's host; `None` where there is no such file.
pub(super) fn from_netrc(url: &Url) -> Result<Option<Login>, String> {
    let path = match std::env::var_os("NETRC") {
        Some(path) => OwnPath::Named(PathBuf::from(path)),
        None => match std::env::var_os("HOME") {
            Some(home) => OwnPath::Default(PathBuf::from(home).join(".netrc")),
            None => return Ok(None),
        },
    };
    let text = read_netrc(&path)?;
    Ok(url.host_str().and_then(|host| in_netrc(&text, host)))
}

fn read_netrc(place: &OwnPath) -> Result<Zeroizing<String>, String> {
    let text = read_own_text(place, MAX_NETRC).map_err(|cause| {
        let path = shown(place.path());
        format!("{path}: can't be read: {cause}; {NETRC_REMEDY}")
    })?;
    Ok(Zeroizing::new(text.unwrap_or_default()))
}

/// The first entry for a host, else the default.
fn in_netrc(text: &str, host: &str) -> Option<Login> {
    let text = without_macros(text);
    let mut words = text.split_whitespace();
    let (mut meant, mut user, mut password) = (false, None, None);
    let login = |user: Option<&str>, password: Option<&str>| {
        password.map(|password| Login {
            user: user.unwrap_or_default().to_owned(),
            password: Zeroizing::new(password.to_owned()),
        })
    };
    while let Some(word) = words.next() {
        match word {
            "machine" | "default" if meant => break,
            "machine" => meant = words.next().is_some_and(|it| it.eq_ignore_ascii_case(host)),
            "default" => meant = true,
            "login" if meant => user = words.next(),
            "password" if meant => password = words.next(),
            "login" | "password" | "account" => drop(words.next()),
            _ => {}
        }
    }
    login(user, password)
}

/// Without `macdef`s, which end with an empty line, and comments.
fn without_macros(text: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(text.len()));
    let mut in_macro = false;
    for line in text.lines() {
        let line = line.trim();
        in_macro = match in_macro {
            true => !line.is_empty(),
            false => line.starts_with("macdef"),
        };
        if !in_macro && !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::Path;

    fn pair(login: Option<Login>) -> Option<(String, String)> {
        login.map(|it| (it.user.clone(), it.password.to_string()))
    }

    #[test]
    fn a_url_is_shown_without_what_is_secret() {
        let url = Url::parse("https://al%40ice:p%3Aw@host/t/tk-123/label/main/?x=1#y").unwrap();
        let (bare, login) = split(&url);
        assert_eq!(pair(login), Some(("al@ice".to_owned(), "p:w".to_owned())));
        assert_eq!(masked(&bare), "https://host/t/***/label/main/");
        assert_eq!(masked(&url), "https://host/t/***/label/main/");
        let plain = Url::parse("http://host/conda-forge/").unwrap();
        assert!(split(&plain).1.is_none());
        assert_eq!(masked(&plain), "http://host/conda-forge/");
        let login = Login {
            user: "a".to_owned(),
            password: Zeroizing::new("b".to_owned()),
        };
        assert_eq!(format!("{login:?}"), "Login(..)");
        assert_eq!(login.basic().as_str(), "Basic YTpi");
    }

    #[test]
    fn netrc_tells_by_host() {
        let text = "# mine\nmachine other login x password y\nmacdef init\nmachine host password no\n\n\
                    machine host\n  login me\n  account z\n  password secret\ndefault login d password e\n";
        let expected = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(pair(in_netrc(text, "HOST")), expected("me", "secret"));
        assert_eq!(pair(in_netrc(text, "other")), expected("x", "y"));
        assert_eq!(pair(in_netrc(text, "third")), expected("d", "e"));
        assert_eq!(pair(in_netrc("machine a login b", "a")), None);
        assert_eq!(pair(in_netrc("", "a")), None);
    }

    #[test]
    fn netrc_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("netrc");
        let named = |path: &Path| OwnPath::Named(path.to_owned());
        assert_eq!(read_netrc(&named(&path)).unwrap().as_str(), "");
        let file = std::fs::File::create(&path).unwrap();
        file.set_len(MAX_NETRC).unwrap();
        assert_eq!(read_netrc(&named(&path)).unwrap().len(), 1 << 20);
        file.set_len(MAX_NETRC + 1).unwrap();
        let why = read_netrc(&named(&path)).unwrap_err();
        for word in [path.to_str().unwrap(), "more than 1048576 bytes", "$NETRC"] {
            assert!(why.contains(word), "{why}");
        }
        assert_eq!(
            read_netrc(&named(Path::new("/dev/null"))).unwrap().as_str(),
            ""
        );
        assert!(read_netrc(&named(Path::new("/dev/zero"))).is_err());
    }
}
