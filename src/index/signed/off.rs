//! A build without signed indexes: it publishes over none.

use std::convert::Infallible;
use std::marker::PhantomData;

use rayon::ThreadPool;

use super::super::Config;
use super::super::places::Places;
use super::super::signing_key::{Keys, RoleKeys};
use super::{Listing, Next, Standing, demand_still_signed, metadata_in};
use crate::cache::Cache;
use crate::error::Error;
use crate::tuf::Targets;

/// There is none in this build.
pub struct Signed<'a>(Infallible, PhantomData<&'a ()>);

/// Demands that no index is signed.
///
/// # Errors
/// When one is, or was.
pub fn begin<'a>(
    config: &Config,
    places: Places<'_>,
    _: RoleKeys<'a>,
    cache: &mut dyn Cache,
    _: &ThreadPool,
) -> Result<(Standing<'a>, Vec<String>), Error> {
    for storage in [places.target(), places.source] {
        if !metadata_in(storage)?.is_empty() {
            return Err(Error::SignedIndex {
                place: config.channel.clone(),
                why: "its index is signed, and this build of sigindex has no part for that; take one that has (the feature `tuf`)".to_owned(),
            });
        }
    }
    demand_still_signed(&config.channel, cache)?;
    Ok((Standing::default(), Vec::new()))
}

impl Signed<'_> {
    /// What tells what was published.
    pub fn vouched(&self) -> Option<&Targets> {
        match self.0 {}
    }

    /// What the generation before names.
    pub fn known(&self) -> &Targets {
        match self.0 {}
    }

    /// The keys of the index and its root.
    pub fn role_keys(&self) -> Keys {
        match self.0 {}
    }

    /// Whether the index key is at hand.
    pub fn check_key(&self) -> Result<(), Error> {
        match self.0 {}
    }

    /// The generation that follows.
    pub fn next(&self, _: Listing<'_>, _: super::SignedConfig) -> Result<Next, Error> {
        match self.0 {}
    }
}
