//! What people write for a URL: whether a name is meant as one, and how it is shown. Must not know what is behind one.

/// Whether a name is meant as a URL, well written or not: `https:/HOST` is one, too. A folder that is called so is given
/// as `./https:`.
pub fn is_meant_as_url(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    name.split_once(':').is_some_and(|(scheme, rest)| {
        let is_scheme = !scheme.is_empty() && !scheme.starts_with('.') && scheme.bytes().all(plain);
        is_scheme && (rest.starts_with("//") || is_http(scheme))
    })
}

/// A text as it was given, without what may be a secret of a URL in it: user and password, conda's token (`/t/TOKEN`),
/// and what stands behind `?` or `#`. `NAME=` may stand before the URL.
pub fn without_secrets(text: &str) -> String {
    let Some((scheme, rest)) = scheme(text) else {
        return text.to_owned();
    };
    // A password may hold whatever a path holds.
    let (before, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    // And a token an `@`.
    let mut after_t = before.rsplit('/').nth(1) == Some("t");
    let parts = rest.split('/').map(|part| {
        let hidden = std::mem::replace(&mut after_t, part == "t");
        if hidden { "***" } else { part }
    });
    format!("{scheme}{}", parts.collect::<Vec<_>>().join("/"))
}

/// All that stands before a URL's user and host, and the rest; a URL of HTTP may lack slashes.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let rest = match text.split_once("://") {
        Some((_, rest)) => rest,
        None => {
            let (scheme, rest) = text.split_once(':')?;
            scheme.rsplit('=').next().filter(|scheme| is_http(scheme))?;
            rest.trim_start_matches('/')
        }
    };
    text.split_at_checked(text.len().checked_sub(rest.len())?)
}

fn is_http(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_of_a_url_is_shown() {
        for (text, shown) in [
            ("https://u:p@h/c", "https://h/c"),
            ("https://u:p/a?b#c@h/c", "https://h/c"),
            (
                "https://h/t/secret/c?key=secret#secret",
                "https://h/t/***/c",
            ),
            ("https://h/t/sec@ret/c", "https://***/c"),
            ("https://u:p@h?secret", "https://h"),
            ("main=https://u:p@h/c", "main=https://h/c"),
            ("https:/u:p@h/c", "https:/h/c"),
            ("main=HTTP:u:p@h/t/secret", "main=HTTP:h/t/***"),
            ("ftp://u:p@h/c", "ftp://h/c"),
            ("/srv/channel@1?", "/srv/channel@1?"),
            ("a:b@c", "a:b@c"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }

    #[test]
    fn a_url_is_known_by_how_it_begins() {
        for url in [
            "https://h",
            "HTTP:/h",
            "https:h",
            "ftp://h",
            "s3://b",
            "x+y://",
        ] {
            assert!(is_meant_as_url(url), "{url}");
        }
        for folder in [
            "",
            "https",
            "./https:/h",
            "./s3://b",
            "://h",
            "a/b://h",
            "a:b",
            "/http:/",
        ] {
            assert!(!is_meant_as_url(folder), "{folder}");
        }
    }
}
