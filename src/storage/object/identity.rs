//! What tells a channel in object storage from all others, for what is remembered of it. Owns which of the environment's
//! settings are a part of that: two stores may have buckets of one name. Holds no credentials, and makes no request.

use std::os::unix::fs::FileTypeExt as _;
use std::str::FromStr;

use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;

use super::place::{Place, Scheme};
use super::profile::Profile;
use super::settings::Form;
use super::variables::Variables;

/// Where Azure's emulator listens.
const EMULATOR: &str = "http://127.0.0.1:10000";

/// The URL, with what says whose it is. Without an endpoint a bucket of S3 or Google has its name alone; no URL of a
/// place has a `?` in it.
pub fn identity(place: &Place, variables: &Variables) -> String {
    let (account, endpoint) = match place.scheme {
        Scheme::S3 => (None, amazon(variables)),
        Scheme::Google => (None, last(variables, "GOOGLE_", GoogleConfigKey::BaseUrl)),
        Scheme::Azure => azure(variables),
    };
    let account = account.map(|account| format!("account={account}"));
    let endpoint = endpoint.map(|endpoint| format!("endpoint={}", authority(&endpoint)));
    let parts: Vec<String> = account.into_iter().chain(endpoint).collect();
    match parts.is_empty() {
        true => place.url().to_owned(),
        false => format!("{}?{}", place.url(), parts.join("&")),
    }
}

/// The endpoint as requests have it.
fn amazon(variables: &Variables) -> Option<String> {
    let set = |key| last(variables, "AWS_", key);
    let set = set(AmazonS3ConfigKey::S3Endpoint).or_else(|| set(AmazonS3ConfigKey::Endpoint));
    set.or_else(|| {
        // What can be read once was read.
        let is_pipe = |name: &&str| {
            let found = variables.get(name).map(std::fs::metadata);
            found.is_some_and(|found| found.is_ok_and(|found| found.file_type().is_fifo()))
        };
        let files = ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"];
        if files.iter().any(is_pipe) {
            return None;
        }
        let profile = Profile::of(|name| variables.get(name)).ok()?;
        // One of no use fails the run before anything is remembered.
        let endpoint = profile.usable("endpoint_url", Form::Url).ok()?;
        endpoint.map(str::to_owned)
    })
}

/// The account and the endpoint, the emulator's too.
fn azure(variables: &Variables) -> (Option<String>, Option<String>) {
    let set = |key| last(variables, "AZURE_", key);
    let yes = ["1", "true", "on", "yes", "y"];
    let is_emulator = set(AzureConfigKey::UseEmulator)
        .is_some_and(|value| yes.contains(&value.to_ascii_lowercase().as_str()));
    let endpoint = match is_emulator {
        true => Some(
            variables
                .get("AZURITE_BLOB_STORAGE_URL")
                .unwrap_or(EMULATOR.to_owned()),
        ),
        false => set(AzureConfigKey::Endpoint),
    };
    (set(AzureConfigKey::AccountName), endpoint)
}

/// A setting, by any of its names; of several the one that requests are made with.
fn last<K: FromStr + PartialEq>(variables: &Variables, prefix: &str, wanted: K) -> Option<String> {
    let is_it = |key: &str| key.parse::<K>().is_ok_and(|key| key == wanted);
    let all = variables.beginning(prefix);
    let found = all.filter(|(key, _)| is_it(key)).last();
    found.map(|(_, value)| value.to_owned())
}

/// The host and the port of an endpoint, without what may be a secret.
fn authority(endpoint: &str) -> String {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("", endpoint));
    let (_, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.to_ascii_lowercase();
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = match scheme.to_ascii_lowercase().as_str() {
        _ if host.rsplit_once(':').is_some_and(|(_, port)| is_port(port)) => "",
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    format!("{host}{port}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn told(url: &str, all: &[(&str, &str)]) -> String {
        let all = all.iter();
        let all = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        identity(&Place::of(url).unwrap(), &all.collect())
    }

    #[test]
    fn buckets_of_one_name_in_two_stores_are_told_apart() {
        let keys = ("AWS_SECRET_ACCESS_KEY", "hidden");
        assert_eq!(told("s3://b/c", &[keys, ("AWS_REGION", "x")]), "s3://b/c");
        assert_eq!(
            told("gs://b/c", &[("GOOGLE_SERVICE_ACCOUNT", "x")]),
            "gs://b/c"
        );
        for (name, endpoint, then) in [
            ("AWS_ENDPOINT_URL", "http://Minio:9000", "minio:9000"),
            (
                "AWS_ENDPOINT",
                "https://u:hid@den@h/p?hidden#hidden",
                "h:443",
            ),
            ("AWS_ENDPOINT_URL_S3", "http://[::1]", "[::1]:80"),
            ("AWS_ENDPOINT_URL", "minio:9000", "minio:9000"),
        ] {
            let told = told("s3://b/c", &[keys, (name, endpoint)]);
            assert_eq!(told, format!("s3://b/c?endpoint={then}"));
        }
        let both = [
            ("AWS_ENDPOINT_URL_S3", "http://one:1"),
            ("AWS_ENDPOINT_URL", "http://two:2"),
        ];
        assert_eq!(told("s3://b", &both), "s3://b?endpoint=one:1");
        let google = [("GOOGLE_BASE_URL", "http://h:1")];
        assert_eq!(told("gs://b", &google), "gs://b?endpoint=h:1");
        let account = ("AZURE_STORAGE_ACCOUNT_NAME", "me");
        let key = ("AZURE_STORAGE_ACCOUNT_KEY", "hidden");
        assert_eq!(told("az://b/c", &[account, key]), "az://b/c?account=me");
        let endpoint = ("AZURE_STORAGE_ENDPOINT", "https://h/me");
        let both = told("az://b", &[account, endpoint, key]);
        assert_eq!(both, "az://b?account=me&endpoint=h:443");
        let emulator = [("AZURE_STORAGE_USE_EMULATOR", "true"), endpoint];
        assert_eq!(told("az://b", &emulator), "az://b?endpoint=127.0.0.1:10000");
    }

    #[test]
    fn the_endpoint_of_a_profile_counts_where_the_environment_names_none() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let config = home.path().join(".aws/config");
        std::fs::write(&config, "[default]\nendpoint_url = http://h:1\n").unwrap();
        let of_home = ("HOME", home.path().to_str().unwrap());
        assert_eq!(told("s3://b", &[of_home]), "s3://b?endpoint=h:1");
        let set = ("AWS_ENDPOINT_URL", "http://other:2");
        assert_eq!(told("s3://b", &[of_home, set]), "s3://b?endpoint=other:2");
        // A pipe would be waited for in vain.
        let pipe = home.path().join("pipe");
        let mode = rustix::fs::Mode::RUSR;
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, mode, 0).unwrap();
        let piped = ("AWS_CONFIG_FILE", pipe.to_str().unwrap());
        assert_eq!(told("s3://b", &[of_home, piped]), "s3://b");
    }
}
