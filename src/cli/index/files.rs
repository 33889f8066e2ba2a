//! The flags that say which index files are written, and how, under conda-index's names where the meaning is the
//! same. Owns their defaults and what they mean together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::cli::options::read_text;
use crate::cli::place;
use crate::error::Error;
use crate::index::Patches;
use crate::package::Format;
use crate::patch::Source;
use crate::record::is_deceptive;
use crate::repodata::{Formats, Pins, is_path_to_channel};
use crate::shown::shown;
use crate::upstream::without_secrets;

/// The largest list of versions, in bytes.
const MAX_PINS: u64 = 1 << 20;

/// Which index files are written. Of each pair the last one given counts; what is off is removed.
#[derive(Debug, clap::Args)]
#[command(
    next_help_heading = "Index files (each flag without a value has its opposite, --no-…, but --all; the last one counts; what is off is removed)"
)]
pub struct FileArgs {
    /// Write every index file; --no-… still takes one out
    #[arg(long)]
    all: bool,
    /// Leave out repodata.json, but for noarch
    #[arg(long, overrides_with = "write_monolithic")]
    no_write_monolithic: bool,
    #[arg(long, overrides_with = "no_write_monolithic", hide = true)]
    write_monolithic: bool,
    /// Leave out shards (CEP 16)
    #[arg(long, overrides_with = "write_shards")]
    no_write_shards: bool,
    #[arg(long, overrides_with = "no_write_shards", hide = true)]
    write_shards: bool,
    /// Keep shards that are no longer named for so many days
    #[arg(long, value_name = "DAYS", default_value_t = 7)]
    pub keep_shards: u16,
    /// Leave out run_exports.json (CEP 12)
    #[arg(long, overrides_with = "run_exports")]
    no_run_exports: bool,
    #[arg(long, overrides_with = "no_run_exports", hide = true)]
    run_exports: bool,
    /// Leave out index.html
    #[arg(long, overrides_with = "html")]
    no_html: bool,
    #[arg(long, overrides_with = "no_html", hide = true)]
    html: bool,
    /// Let pages name each package's dependencies
    #[arg(long, overrides_with = "no_html_dependencies")]
    html_dependencies: bool,
    #[arg(long, overrides_with = "html_dependencies", hide = true)]
    no_html_dependencies: bool,
    /// Write current_repodata.json, for conda's classic solver
    #[arg(long, overrides_with = "no_current_repodata")]
    current_repodata: bool,
    #[arg(long, overrides_with = "current_repodata", hide = true)]
    no_current_repodata: bool,
    /// Versions that stay in current_repodata.json beside the newest (YAML: name to list of versions); switches it on
    #[arg(short = 'm', long, value_name = "FILE")]
    current_index_versions_file: Option<PathBuf>,
    /// Write channeldata.json (CEP 38)
    #[arg(long, overrides_with = "no_channeldata")]
    channeldata: bool,
    #[arg(long, overrides_with = "channeldata", hide = true)]
    no_channeldata: bool,
    /// Write rss.xml
    #[arg(long, overrides_with = "no_rss")]
    rss: bool,
    #[arg(long, overrides_with = "rss", hide = true)]
    no_rss: bool,
    /// Leave out .json.zst twins
    #[arg(long, overrides_with = "zst")]
    no_zst: bool,
    #[arg(long, overrides_with = "no_zst", hide = true)]
    zst: bool,
    /// Compression level of .zst files and shards; files that need not change keep the level they have
    #[arg(long, value_name = "LEVEL", default_value_t = 3, value_parser = clap::value_parser!(i32).range(1..=22))]
    zst_level: i32,
    /// Write .json.bz2 twins, for clients of long ago
    #[arg(long, overrides_with = "no_bz2")]
    bz2: bool,
    #[arg(long, overrides_with = "bz2", hide = true)]
    no_bz2: bool,
    /// Write JSON indented by two
    #[arg(long, overrides_with = "compact")]
    no_compact: bool,
    #[arg(long, overrides_with = "no_compact", hide = true)]
    compact: bool,
    /// Whether records hold the signatures themselves, or only whose they are
    #[arg(long, value_name = "WHERE", value_enum, default_value_t = Signatures::Embedded)]
    signatures: Signatures,
    /// Write all records in the third revision of repodata (CEP 48), not only those that need it
    #[arg(long, overrides_with = "no_repodata_next")]
    repodata_next: bool,
    #[arg(long, overrides_with = "repodata_next", hide = true)]
    no_repodata_next: bool,
    /// Where packages are served, when not beside their index (CEP 15): a URL of the channel
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The channel's name on its pages [default: its folder's]
    #[arg(short = 'n', long, value_name = "NAME")]
    channel_name: Option<String>,
    /// A channel that goes before this one, as a path from it (CEP 42): ../conda-forge
    #[arg(long, value_name = "PATH")]
    base_channel: Option<String>,
    /// A channel that this one goes before, as a path from it (CEP 42): ../..
    #[arg(long, value_name = "PATH")]
    overrides_channel: Option<String>,
    /// Patches: a package, a folder, a Python file, or the name of a package in noarch [default: each
    /// subdir's patch_instructions.json]
    #[arg(long, value_name = "WHAT", alias = "repodata-patch")]
    patch_generator: Option<String>,
}

/// Where signatures stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Signatures {
    /// In the records, and in the `.sig` files
    Embedded,
    /// In the `.sig` files alone
    Detached,
}

impl FileArgs {
    /// Whether records go without the signatures themselves.
    pub fn detached(&self) -> bool {
        self.signatures == Signatures::Detached
    }

    /// What the flags mean for the channel in this folder.
    pub fn formats(&self, channel: &Path) -> Result<Formats, Error> {
        if self.no_write_monolithic && self.no_write_shards {
            return Err(Error::Usage(
                "--no-write-monolithic and --no-write-shards together leave clients no index; give one of them"
                    .to_owned(),
            ));
        }
        let asked = |on: bool, off: bool| on || (self.all && !off);
        Ok(Formats {
            monolithic: !self.no_write_monolithic,
            shards: !self.no_write_shards,
            run_exports: !self.no_run_exports,
            // Who names versions for it wants it.
            current_repodata: asked(self.current_repodata, self.no_current_repodata)
                || (self.current_index_versions_file.is_some() && !self.no_current_repodata),
            channeldata: asked(self.channeldata, self.no_channeldata),
            rss: asked(self.rss, self.no_rss),
            html: !self.no_html,
            html_dependencies: self.html_dependencies,
            zst: !self.no_zst,
            zst_level: self.zst_level,
            bz2: asked(self.bz2, self.no_bz2),
            compact: !self.no_compact,
            next: self.repodata_next,
            base_url: self.base_url.as_deref().map(base_url).transpose()?,
            relations: self.relations()?,
            channel_name: match &self.channel_name {
                Some(name) => name.clone(),
                None => name_of(channel),
            },
        })
    }

    /// Where patches come from, opened: what is wrong with them is told before anything is signed.
    pub fn patches(&self) -> Result<Patches, Error> {
        let Some(what) = &self.patch_generator else {
            return Ok(Patches::OfSubdirs);
        };
        let path = place::here(Path::new(what))?;
        let is_name = !what.contains('/') && !path.exists() && Format::of(what).is_none();
        if is_name && !what.ends_with(".py") {
            return Ok(Patches::Package(what.clone()));
        }
        Ok(Patches::From(Source::open(path)?))
    }

    /// The versions that stay in `current_repodata.json`.
    pub fn pins(&self) -> Result<Pins, Error> {
        let Some(path) = &self.current_index_versions_file else {
            return Ok(Pins::default());
        };
        let shown = shown(path);
        let text = read_text(path, MAX_PINS, "read the versions to keep")?;
        Pins::parse(&shown, &text)
    }

    fn relations(&self) -> Result<BTreeMap<String, String>, Error> {
        let mut relations = BTreeMap::new();
        for (key, flag, path) in [
            ("base", "--base-channel", &self.base_channel),
            ("overrides", "--overrides-channel", &self.overrides_channel),
        ] {
            if let Some(path) = path {
                relations.insert(key.to_owned(), relation(flag, path)?);
            }
        }
        match (&self.base_channel, &self.overrides_channel) {
            (Some(base), Some(overrides)) if base == overrides => Err(Error::Usage(
                "--base-channel and --overrides-channel name the same channel, which can't go both before and after this one"
                    .to_owned(),
            )),
            _ => Ok(relations),
        }
    }
}

/// Without its last slashes; each subdir's has one of its own.
fn base_url(url: &str) -> Result<String, Error> {
    let fault = |why: &str| Error::Usage(format!("--base-url {}: {why}", url.escape_debug()));
    if url.chars().any(is_deceptive) {
        return Err(fault(
            "has white space or characters that don't show, which no URL has",
        ));
    }
    // A relative one has no colon in its first part (RFC 3986, 4.2).
    let first = url.split('/').next().unwrap_or_default();
    match url.split_once("://") {
        Some((scheme, place)) => {
            let known = ["http", "https", "file", "s3", "ftp"];
            if !known.iter().any(|it| scheme.eq_ignore_ascii_case(it)) {
                return Err(fault("clients know http, https, file, s3 and ftp"));
            }
            if !scheme.eq_ignore_ascii_case("file") && (place.is_empty() || place.starts_with('/'))
            {
                return Err(fault("names no host"));
            }
        }
        None if first.contains(':') => {
            return Err(fault("is neither a URL (https://…) nor a relative one"));
        }
        None => {}
    }
    if url.contains(['?', '#']) {
        return Err(fault("names are put behind it, so it can't have a ? or #"));
    }
    match url.trim_end_matches('/') {
        "" => Err(fault("is not a URL")),
        url => Ok(url.to_owned()),
    }
}

/// A reference by the rule of CEP 42: `..`, then parts of a path.
fn relation(flag: &str, path: &str) -> Result<String, Error> {
    if path.starts_with("../") && is_path_to_channel(path) {
        return Ok(path.to_owned());
    }
    Err(Error::Usage(format!(
        "{flag} {}: not a path from this channel to another, which begins with ../ (../conda-forge, ../..)",
        without_secrets(path).escape_debug()
    )))
}

fn name_of(channel: &Path) -> String {
    let whole = channel
        .canonicalize()
        .unwrap_or_else(|_| channel.to_owned());
    let name = whole.file_name().map(|name| name.to_string_lossy());
    name.map(|name| name.into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_relations_are_checked() {
        for (url, clean) in [
            ("https://x.org/c/", Some("https://x.org/c")),
            ("../packages", Some("../packages")),
            ("", None),
            ("/", None),
            ("https://x.org/a b", None),
            ("HTTPS://x.org", Some("HTTPS://x.org")),
            ("s3://bucket/c", Some("s3://bucket/c")),
            ("https://", None),
            ("gopher://x", None),
            ("javascript:alert(1)", None),
            ("https:x", None),
            ("https://x.org/\u{202e}", None),
            ("https://x.org/?a=1", None),
        ] {
            assert_eq!(base_url(url).ok().as_deref(), clean, "{url}");
        }
        for (path, sound) in [
            ("../conda-forge", true),
            ("../..", true),
            ("../../x/", true),
            ("..", false),
            ("conda-forge", false),
            ("https://x.org/c", false),
            ("../a//b", false),
            ("../a\n", false),
            ("../a/./b", false),
        ] {
            assert_eq!(relation("--base-channel", path).is_ok(), sound, "{path}");
        }
    }
}
