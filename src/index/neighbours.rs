//! Subdirs that a run leaves as they are, and that the channel's own files tell of all the same. Owns reading them
//! back; judges nothing.

use super::Config;
use super::patching::Patches;
use super::places::Places;
use super::remains::Recollection;
use super::told::Told;
use crate::cache::Cache;
use crate::channel::{Channel, SubdirName};
use crate::error::Error;
use crate::package::Format;
use crate::repodata::{Document, Listed, Published};
use crate::storage::Kind;

/// A subdir that the run does not walk, as it is published.
pub struct Neighbour {
    name: SubdirName,
    told: Told,
}

/// Finds them, where any file of the run tells of the whole channel.
///
/// One whose index can't be read is left out, with a warning: it is not this run's to mend.
///
/// # Errors
/// When the channel's folder can't be listed.
pub fn neighbours(
    config: &Config,
    places: Places<'_>,
    channel: &mut Channel,
) -> Result<Vec<Neighbour>, Error> {
    let formats = &config.formats;
    let of_channel = formats.html || formats.channeldata || formats.rss || formats.current_repodata;
    // Its package may lie in a noarch that is not walked.
    let of_package = matches!(config.patches, Patches::Package(_));
    // A signed index names the keys of the whole channel.
    if !of_channel && !of_package && places.published().vouched.is_none() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for item in places.target().list("")? {
        let name = item.name.to_str().and_then(SubdirName::chosen);
        let Some(name) = name.filter(|_| item.kind == Kind::Folder) else {
            continue;
        };
        if channel.subdirs.iter().any(|subdir| subdir.name == name) {
            continue;
        }
        match Told::by(places.published(), &name) {
            Ok(told) if told.is_nothing() => {}
            Ok(told) => found.push(Neighbour { name, told }),
            Err(error) => channel.warnings.push(untold(&error, &name)),
        }
    }
    Ok(found)
}

/// What each of them lists; one that is of no index's form is left out, with a warning.
///
/// # Errors
/// When the cache can't be read.
pub fn documents<'a>(
    places: Places<'_>,
    neighbours: &'a [Neighbour],
    cache: &mut dyn Cache,
) -> Result<(Vec<Document<'a>>, Vec<String>), Error> {
    let (mut documents, mut warnings) = (Vec::new(), Vec::new());
    for neighbour in neighbours {
        match neighbour.told.served() {
            Ok(published) => {
                let subdir = SubdirName::standard(neighbour.name.as_str()).is_some();
                if subdir || published.by_sigindex {
                    documents.push(document(places, &neighbour.name, published, cache)?);
                }
            }
            Err(error) => warnings.push(untold(&error, &neighbour.name)),
        }
    }
    Ok((documents, warnings))
}

fn untold(error: &Error, name: &SubdirName) -> String {
    format!("{error}; the channel's own files say nothing of {name}")
}

fn document<'a>(
    places: Places<'_>,
    name: &'a SubdirName,
    published: Published<'_>,
    cache: &mut dyn Cache,
) -> Result<Document<'a>, Error> {
    let known = cache.load(name.as_str())?;
    let mut recollection = Recollection::new(places, name, &known);
    let mut listed = Vec::with_capacity(published.records.len());
    for (file, record) in published.records {
        let Some(format) = Format::of(&file) else {
            continue;
        };
        let details = recollection.served(&file, &record)?;
        listed.push(Listed {
            name: file,
            format,
            record: record.text.to_string(),
            details,
        });
    }
    Ok(Document {
        subdir: name,
        listed,
        removed: Vec::new(),
        signing_keys: published.signing_keys,
        signatures: published.signatures,
    })
}
