//! Listings, page by page. Owns how keys become names in folders, and what becomes of keys that no file of a channel
//! can have: they are passed over. Must not know what the names mean.

use std::borrow::Cow;
use std::collections::HashSet;

use object_store::Error;
use object_store::list::{PaginatedListOptions, PaginatedListResult};
use object_store::path::{Error as KeyError, Path};

use super::client::{Client, seen};
use super::fault;
use super::view::Folder;
use crate::shown::shown;
use crate::storage::StorageError;

/// The most keys that are asked for at once; stores give as many at most.
const PAGE: usize = 1_000;

/// The most keys that are passed over, each of which costs some requests.
const MOST_ODD: usize = 1_000;

/// The longest word by which a store says where the next page begins, in bytes.
const MOST_TOKEN: usize = 16 << 10;

/// What is being done.
const LIST: &str = "list the folder";

const NO_END: &str = "its pages have no end: the store says a second time that the same page follows, or in a word of more than 16 KiB";

const ENDPOINT: &str = "look whether the endpoint is that of a store, and tell whoever runs it";

const NO_XML: &str = "look whether the endpoint is that of a store; and where a key there has control characters, which listings can't tell, remove that object";

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
    /// Where pages began.
    begun: HashSet<String>,
}

impl At {
    /// Goes on where the store says; whether it has not been there yet, and can be named so.
    fn go_on(&mut self, token: Option<&String>) -> bool {
        self.token = token.cloned();
        token.is_none_or(|token| token.len() <= MOST_TOKEN && self.begun.insert(token.clone()))
    }
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
                    if !at.go_on(found.page_token.as_ref()) {
                        return Err(self.unlisted(folder, NO_END.to_owned(), ENDPOINT));
                    }
                    listed.take(&prefix, found);
                    if at.token.is_none() {
                        return Ok(listed);
                    }
                }
                Err(Error::InvalidPath { source }) => {
                    listed.is_there = true;
                    let key = odd_key(source);
                    if listed.odd >= MOST_ODD {
                        let key = key.unwrap_or_default();
                        let cause = format!(
                            "more than {MOST_ODD} keys there are no names of files (they have an empty part, `.`, `..` or a control character), as {} is",
                            shown(&key)
                        );
                        return Err(self.unlisted(folder, cause, "remove these objects"));
                    }
                    match key {
                        // The only one of its page: the listing goes on behind it.
                        Some(key) if page == 1 => {
                            listed.odd = listed.odd.saturating_add(1);
                            at.token = None;
                            at.after = Some(behind(&prefix, &key));
                        }
                        None if page == 1 => {
                            let cause = "a key in it can't be read".to_owned();
                            return Err(self.unlisted(folder, cause, ENDPOINT));
                        }
                        _ => page = (page / 2).max(1),
                    }
                }
                Err(error) if fault::is_no_listing(&error) => {
                    let cause = fault::cause_of(&error);
                    return Err(self.unlisted(folder, cause, NO_XML));
                }
                Err(error) => return Err(self.told(folder, LIST, &error)),
            }
        }
    }

    fn unlisted(&self, folder: &str, cause: String, remedy: &'static str) -> StorageError {
        StorageError::Object {
            path: self.place.shown(folder),
            operation: LIST,
            cause,
            remedy,
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
