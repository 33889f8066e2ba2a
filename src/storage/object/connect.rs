//! How a store is reached. Owns what the environment and profile files say of it: credentials, endpoint, region, and
//! the limits on time; shows none of it.

use std::fmt::Debug;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::ClientConfigKey;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::list::PaginatedListStore;
use object_store::{
    BackoffConfig, ClientOptions, CredentialProvider, Error, ObjectStore, RetryConfig,
};

use super::ObjectOptions;
use super::fault;
use super::place::{Place, Scheme};
use super::profile::{PROFILE_REMEDY, Profile, ProfileFault};
use super::settings::Form;
use super::variables::Variables;
use crate::storage::StorageError;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a store may be silent, and how long it may take to send it one small content.
const SILENCE: Duration = Duration::from_secs(60);

/// How long it may take to send it one large content.
const LARGE: Duration = Duration::from_secs(30 * 60);

/// How long the machine's own service for credentials is waited for.
const METADATA: Duration = Duration::from_secs(10);

/// What carries out requests.
pub struct Reached {
    /// For all requests but those that send much.
    pub store: Arc<dyn ObjectStore>,
    /// For those.
    pub large: Arc<dyn ObjectStore>,
    /// For listings.
    pub pages: Arc<dyn PaginatedListStore>,
}

/// Prepares requests to a place; makes none.
///
/// # Errors
/// When the environment's settings contradict each other, or a profile that is named is not there.
pub fn reach(place: &Place, options: &ObjectOptions) -> Result<Reached, StorageError> {
    let variables = &options.variables;
    check(place, variables)?;
    let bucket = place.bucket.as_str();
    match place.scheme {
        Scheme::S3 => {
            let builder = amazon(place, variables)?;
            let builder = builder.with_bucket_name(bucket);
            let client = |time| connections(variables, "AWS_", time);
            let asking = builder.clone().with_retry(tries(2, METADATA));
            let asking = asking.with_client_options(client(METADATA)).build();
            let asking = asking.map_err(|error| unset(place, &error))?;
            let builder = builder.with_credentials(Credentials::of(asking.credentials()));
            both(place, |time, retry| {
                let builder = builder.clone().with_retry(retry);
                builder.with_client_options(client(time)).build()
            })
        }
        Scheme::Google => {
            let builder = GoogleCloudStorageBuilder::new();
            let builder = variables
                .beginning("GOOGLE_")
                .fold(builder, |builder, (key, value)| match key.parse() {
                    Ok(key) => builder.with_config(key, value),
                    Err(_) => builder,
                });
            let builder = builder.with_bucket_name(bucket);
            let client = |time| connections(variables, "GOOGLE_", time);
            let asking = builder.clone().with_retry(tries(2, METADATA));
            let asking = asking.with_client_options(client(METADATA)).build();
            let asking = asking.map_err(|error| unset(place, &error))?;
            let builder = builder.with_credentials(Credentials::of(asking.credentials()));
            both(place, |time, retry| {
                let builder = builder.clone().with_retry(retry);
                builder.with_client_options(client(time)).build()
            })
        }
        Scheme::Azure => {
            let builder = MicrosoftAzureBuilder::new();
            let builder = variables
                .beginning("AZURE_")
                .fold(builder, |builder, (key, value)| match key.parse() {
                    Ok(key) => builder.with_config(key, value),
                    Err(_) => builder,
                });
            let builder = match variables.get(IDENTITY) {
                Some(endpoint) => builder.with_msi_endpoint(endpoint),
                None => builder,
            };
            let builder = builder.with_container_name(bucket);
            let client = |time| connections(variables, "AZURE_", time);
            let asking = builder.clone().with_retry(tries(2, METADATA));
            let asking = asking.with_client_options(client(METADATA)).build();
            let asking = asking.map_err(|error| unset(place, &error))?;
            let builder = builder.with_credentials(Credentials::of(asking.credentials()));
            both(place, |time, retry| {
                let builder = builder.clone().with_retry(retry);
                builder.with_client_options(client(time)).build()
            })
        }
    }
}

/// How often the crate beneath asks again.
fn tries(most: usize, time: Duration) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            base: 2.0,
        },
        max_retries: most,
        retry_timeout: time,
    }
}

/// Gives credentials. Where there are none to be had, that is no fault of the store, and is not asked for again.
#[derive(Debug)]
struct Credentials<C>(Arc<dyn CredentialProvider<Credential = C>>);

impl<C: Debug + Send + Sync + 'static> Credentials<C> {
    fn of(
        provider: &Arc<dyn CredentialProvider<Credential = C>>,
    ) -> Arc<dyn CredentialProvider<Credential = C>> {
        Arc::new(Credentials(Arc::clone(provider)))
    }
}

impl<C: Debug + Send + Sync + 'static> CredentialProvider for Credentials<C> {
    type Credential = C;

    fn get_credential<'s, 'f>(
        &'s self,
    ) -> Pin<Box<dyn Future<Output = Result<Arc<C>, Error>> + Send + 'f>>
    where
        's: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let given = self.0.get_credential().await;
            given.map_err(|error| Error::Unauthenticated {
                path: fault::CREDENTIALS.to_owned(),
                source: Box::new(error),
            })
        })
    }
}

fn unset(place: &Place, error: &Error) -> StorageError {
    fault::told(place.shown(""), "prepare requests", error)
}

/// One for small contents and one for large ones.
fn both<S: ObjectStore + PaginatedListStore>(
    place: &Place,
    build: impl Fn(Duration, RetryConfig) -> Result<S, Error>,
) -> Result<Reached, StorageError> {
    let built = |time, retry| {
        build(time, retry)
            .map(Arc::new)
            .map_err(|error| unset(place, &error))
    };
    // Who asks has the patience; only a part of a large content is sent again by itself.
    let store = built(SILENCE, tries(0, SILENCE))?;
    Ok(Reached {
        store: Arc::clone(&store) as _,
        large: built(LARGE, tries(3, SILENCE))?,
        pages: store,
    })
}

/// What the environment says and, where it is silent, a profile.
fn amazon(place: &Place, variables: &Variables) -> Result<AmazonS3Builder, StorageError> {
    let wrong = |fault: ProfileFault| StorageError::Object {
        path: place.shown(""),
        operation: "read the profile",
        cause: fault.cause,
        remedy: fault.remedy,
    };
    let builder =
        variables
            .beginning("AWS_")
            .fold(AmazonS3Builder::new(), |builder, (key, value)| {
                match key.parse() {
                    Ok(key) => builder.with_config(key, value),
                    Err(_) => builder,
                }
            });
    let profile = Profile::of(|name| variables.get(name)).map_err(wrong)?;
    let from_profile = |builder: AmazonS3Builder, (key, name, form)| {
        Ok(match profile.usable(name, form).map_err(wrong)? {
            Some(value) => builder.with_config(key, value),
            None => builder,
        })
    };
    let builder = [
        (AmazonS3ConfigKey::Region, "region", Form::Label),
        (AmazonS3ConfigKey::Endpoint, "endpoint_url", Form::Url),
    ]
    .into_iter()
    .filter(|(key, ..)| builder.get_config_value(key).is_none())
    .collect::<Vec<_>>()
    .into_iter()
    .try_fold(builder, from_profile)?;
    // Keys in the environment win over those of a profile, unless it is named: all or none.
    let given = KEYS_ELSEWHERE
        .iter()
        .any(|name| variables.get(name).is_some());
    let has_keys = variables.get("AWS_ACCESS_KEY_ID").is_some();
    if has_keys || (given && variables.get("AWS_PROFILE").is_none()) {
        return Ok(builder);
    }
    if let Some(way) = profile.elsewhere() {
        return Err(wrong(ProfileFault {
            cause: format!(
                "it gives its keys by {way}, which only the vendor's own tool resolves (`aws configure export-credentials --format env`)"
            ),
            remedy: PROFILE_REMEDY,
        }));
    }
    let keys = [
        (AmazonS3ConfigKey::AccessKeyId, "aws_access_key_id"),
        (AmazonS3ConfigKey::SecretAccessKey, "aws_secret_access_key"),
        (AmazonS3ConfigKey::Token, "aws_session_token"),
    ];
    let keys = keys.into_iter().map(|(key, name)| (key, name, Form::Word));
    keys.into_iter().try_fold(builder, from_profile)
}

/// Makes sure that requests can be made of what the environment says.
fn check(place: &Place, variables: &Variables) -> Result<(), StorageError> {
    let prefix = match place.scheme {
        Scheme::S3 => "AWS_",
        Scheme::Google => "GOOGLE_",
        Scheme::Azure => "AZURE_",
    };
    let is_used = |name: &str| match place.scheme {
        Scheme::S3 => name.parse::<AmazonS3ConfigKey>().is_ok(),
        Scheme::Google => name.parse::<GoogleConfigKey>().is_ok(),
        Scheme::Azure => name.parse::<AzureConfigKey>().is_ok(),
    };
    let identity = variables.get(IDENTITY).filter(|_| prefix == "AZURE_");
    let identity = identity.map(|value| (IDENTITY.to_owned(), Form::Url.fault(&value)));
    let all = variables.beginning(prefix);
    let used = all.filter(|(name, _)| is_used(name));
    let mut checked = used
        .map(|(name, value)| (name.to_ascii_uppercase(), Form::of(&name).fault(value)))
        .chain(identity);
    let wrong = checked.find_map(|(name, fault)| Some((name, fault?)));
    wrong.map_or(Ok(()), |(name, fault)| {
        Err(StorageError::Object {
            path: place.shown(""),
            operation: "prepare requests",
            cause: format!("{name} {fault}"),
            remedy: "set it right in the environment",
        })
    })
}

/// Where Azure's machines ask for credentials.
const IDENTITY: &str = "IDENTITY_ENDPOINT";

/// Variables that say where else keys are, or that none are needed.
const KEYS_ELSEWHERE: [&str; 4] = [
    "AWS_SKIP_SIGNATURE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

/// How connections are made: the limits on time, then what the environment says.
fn connections(variables: &Variables, prefix: &str, time: Duration) -> ClientOptions {
    let options = ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT)
        .with_read_timeout(time)
        .with_content_type_for_suffix("json", "application/json")
        .with_content_type_for_suffix("html", "text/html; charset=utf-8")
        .with_content_type_for_suffix("xml", "application/rss+xml");
    let prefix_in_keys = prefix.to_ascii_lowercase();
    variables
        .beginning(prefix)
        .fold(options, |options, (key, value)| {
            let key = key.strip_prefix(&prefix_in_keys).unwrap_or(&key);
            match key.parse::<ClientConfigKey>() {
                Ok(key) => options.with_config(key, value),
                Err(_) => options,
            }
        })
}
