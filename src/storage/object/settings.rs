//! What settings of a store have to look like, so that a request can be made of them. Owns what is wrong with one, in
//! words; never shows its value.

use url::Url;

/// The longest URL of an endpoint, in bytes.
const MOST_OF_A_URL: usize = 2_000;

/// What a setting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Of a server: `https://HOST:PORT`.
    Url,
    /// What follows a host in a URL.
    Path,
    /// A part of a host's name: a region, an account.
    Label,
    /// A key, a token: stands in a header.
    Word,
    /// May have blanks.
    Line,
    /// Names a file, or is read as one.
    File,
}

impl Form {
    /// Of a variable, by its name in lower case, whole.
    pub fn of(name: &str) -> Form {
        let (_, name) = name.split_once('_').unwrap_or(("", name));
        match name {
            "endpoint"
            | "endpoint_url"
            | "endpoint_url_s3"
            | "endpoint_url_sts"
            | "metadata_endpoint"
            | "container_credentials_full_uri"
            | "storage_endpoint"
            | "msi_endpoint"
            | "identity_endpoint"
            | "authority_host"
            | "storage_authority_host"
            | "fabric_token_service_url"
            | "base_url" => Form::Url,
            "container_credentials_relative_uri" => Form::Path,
            "region" | "default_region" | "storage_account_name" | "account_name" => Form::Label,
            "access_key_id" | "secret_access_key" | "session_token" | "token" | "storage_token"
            | "bearer_token" => Form::Word,
            "container_authorization_token_file"
            | "web_identity_token_file"
            | "federated_token_file"
            | "proxy_ca_certificate"
            | "service_account"
            | "service_account_path"
            | "service_account_key"
            | "application_credentials" => Form::File,
            _ => Form::Line,
        }
    }

    /// What is wrong with a value, as a clause whose subject is the setting.
    pub fn fault(self, value: &str) -> Option<&'static str> {
        let all = |is: fn(u8) -> bool| value.bytes().all(is);
        let is_label = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        match self {
            Form::File => None,
            _ if value.chars().any(char::is_control) => {
                Some("has a line break or another control character in it, perhaps at its end")
            }
            Form::Line if !value.is_ascii() => Some("has letters beyond ASCII in it"),
            Form::Line => None,
            _ if !all(|byte| byte.is_ascii_graphic()) => {
                Some("has blanks or letters beyond ASCII in it")
            }
            Form::Word => None,
            Form::Label if !all(is_label) || value.to_ascii_lowercase().contains("xn--") => {
                Some("has other letters in it than A to Z, 0 to 9, `.`, `_` and `-`")
            }
            Form::Label => None,
            Form::Path => match is_path(value) && value.starts_with('/') {
                true => None,
                false => Some("is no path as a URL has it"),
            },
            Form::Url => of_url(value),
        }
    }
}

/// What is wrong with the URL of a server.
fn of_url(value: &str) -> Option<&'static str> {
    let Some((scheme, rest)) = value.split_once("://") else {
        return Some("has no scheme: it begins with https:// or http://");
    };
    if !["https", "http"].contains(&scheme.to_ascii_lowercase().as_str()) {
        return Some("has another scheme than https:// and http://");
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (host, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:[]".contains(&byte);
    if host.contains('@') {
        return Some("holds a name or a password, which are given otherwise");
    }
    if host.is_empty() || !host.bytes().all(is_host) || Url::parse(value).is_err() {
        return Some("has no host in it, or a wrong one, or a wrong port");
    }
    match is_path(path) && value.len() <= MOST_OF_A_URL {
        true => None,
        false => Some("is no URL: it is too long, or its path has other letters than those have"),
    }
}

/// Whether all of it may stand in a URL as it is.
fn is_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?@!$&'()*+,;=%".contains(&byte);
    path.bytes().all(plain) && path.len() <= MOST_OF_A_URL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_request_can_be_made_of_is_told() {
        let wrong = [
            ("aws_endpoint_url", "minio:9000"),
            ("aws_endpoint_url", "http://127.0.0.1:99999"),
            ("aws_endpoint_url_s3", "http://127.0.0.1:9000\n"),
            ("aws_endpoint", "http://127.0.0.1:9000 "),
            ("aws_endpoint_url", "http://"),
            ("aws_endpoint_url", "http://:80"),
            ("aws_endpoint_url", "http://[::1"),
            ("aws_endpoint_url", "http://ho%20st"),
            ("aws_endpoint_url", "http://10.0.0.256"),
            ("aws_endpoint_url", "http://h/{x}"),
            ("aws_endpoint_url", "http://me:hidden@h"),
            ("aws_endpoint_url", "ftp://h"),
            ("google_base_url", "h"),
            ("azure_endpoint", "h"),
            ("aws_region", "us east"),
            ("aws_region", "a/b"),
            ("azure_storage_account_name", "a.b/c"),
            ("aws_access_key_id", "id\n"),
            ("aws_session_token", "tokenü"),
            ("azure_storage_token", "a b"),
            ("aws_container_credentials_relative_uri", "/x y"),
            ("aws_container_credentials_relative_uri", "x"),
            ("aws_user_agent", "a\nb"),
            ("aws_sse_kms_key_id", "ü"),
        ];
        for (name, value) in wrong {
            assert!(Form::of(name).fault(value).is_some(), "{name} {value}");
        }
        for (name, value) in [
            ("aws_endpoint_url", "https://s3.example.com/base/"),
            ("aws_endpoint_url", "HTTP://[::1]:9000"),
            ("aws_endpoint_url", "http://minio_1:9000"),
            ("aws_region", "us-east-1"),
            ("aws_secret_access_key", "a/b+c=="),
            ("aws_container_credentials_relative_uri", "/v2/x?id=1"),
            ("google_application_credentials", "/home/ü/key.json"),
            ("google_service_account_key", "{\n}"),
            ("aws_user_agent", "conda channel"),
        ] {
            assert_eq!(Form::of(name).fault(value), None, "{name} {value}");
        }
    }
}
