//! Listings, page by page. Owns how keys become names in folders, and what becomes of keys that no file of a channel
//! can have: they are passed over. Must not know what the names mean.

use std::borrow::Cow;

use object_store::Error;
use object_store::list::{PaginatedListOptions, PaginatedListResult};
use object_store::path::{Error as KeyError, Path};

use super::client::{Client, seen};
use super::view::Folder;
use crate::storage::StorageError;

/// The most keys that are asked for at once; stores give as many at most.
const PAGE: usize = 1_000;

/// The most keys that are passed over, each of which costs some requests.
const MOST_ODD: usize = 1_000;

/// A folder, and what was passed over in it.
#[derive(Debug, Default)]
pub struct Listed {
    /// What lies in it.
    pub folder: Folder,
    /// Whether the store knows anything below it, be it the folder's own marker.
    pub is_there: bool,
    /// How many keys were passed over.
    pub odd: usize,
}

/// How far a listing is.
#[derive(Default)]
struct At {
    /// Where the store said that the next page begins.
    token: Option<String>,
    /// The last key that was passed over.
    after: Option<String>,
}

impl Client {
    /// Lists a folder to its end.
    ///
    /// # Errors
    /// When the store does not list it, or too many keys in it are no files' names.
    pub async fn list(&self, folder: &str) -> Result<Listed, StorageError> {
        let prefix = self.place.below(folder);
        let full = self.options.page.unwrap_or(PAGE).clamp(1, PAGE);
        let (mut listed, mut at, mut page) = (Listed::default(), At::default(), full);
        loop {
            match self.page(&prefix, &at, page).await {
                Ok(found) => {
                    // The rest of a page with odd keys in it is asked for in ever larger parts.
                    page = page.saturating_mul(2).min(full);
                    at.token = found.page_token.clone();
                    listed.take(&prefix, found);
                    if at.token.is_none() {
                        return Ok(listed);
                    }
                }
                Err(Error::InvalidPath { source }) if listed.odd < MOST_ODD => {
                    listed.is_there = true;
                    match odd_key(source) {
                        // The only one of its page: the listing goes on behind it.
                        Some(key) if page == 1 => {
                            listed.odd = listed.odd.saturating_add(1);
                            at = At {
                                token: None,
                                after: Some(behind(&prefix, &key)),
                            };
                        }
                        None if page == 1 => {
                            let cause = Error::Generic {
                                store: "listing",
                                source: "a key in it can't be read".into(),
                            };
                            return Err(self.told(folder, "list the folder", &cause));
                        }
                        _ => page = (page / 2).max(1),
                    }
                }
                Err(error) => return Err(self.told(folder, "list the folder", &error)),
            }
        }
    }

    async fn page(&self, prefix: &str, at: &At, most: usize) -> Result<PaginatedListResult, Error> {
        let options = || PaginatedListOptions {
            offset: at.after.clone().filter(|_| at.token.is_none()),
            delimiter: Some(Cow::Borrowed("/")),
            max_keys: Some(most),
            page_token: at.token.clone(),
            ..PaginatedListOptions::default()
        };
        let prefix = (!prefix.is_empty()).then_some(prefix);
        // The answer itself can break off, which the crate beneath does not ask for again.
        let ask = || self.pages().list_paginated(prefix, options());
        self.again(ask).await
    }
}

impl Listed {
    fn take(&mut self, prefix: &str, found: PaginatedListResult) {
        for meta in &found.result.objects {
            self.is_there = true;
            // A marker of the folder itself has no name in it.
            if let Some(name) = name_below(prefix, &meta.location) {
                self.folder.objects.insert(name.to_owned(), seen(meta));
            }
        }
        for below in &found.result.common_prefixes {
            self.is_there = true;
            if let Some(name) = name_below(prefix, below) {
                self.folder.folders.insert(name.to_owned());
            }
        }
    }
}

fn name_below<'k>(prefix: &str, key: &'k Path) -> Option<&'k str> {
    let name = key.as_ref().strip_prefix(prefix)?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

/// The key that is no path.
fn odd_key(error: KeyError) -> Option<String> {
    match error {
        KeyError::EmptySegment { path } | KeyError::BadSegment { path, .. } => Some(path),
        _ => None,
    }
}

/// What a listing goes on behind, to leave out a key and, where it is that of a folder, all that lies in it.
fn behind(prefix: &str, key: &str) -> String {
    match key.strip_prefix(prefix).and_then(|name| name.find('/')) {
        Some(_) if key.ends_with('/') => format!("{key}\u{10ffff}"),
        _ => key.to_owned(),
    }
}
