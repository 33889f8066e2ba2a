//! `sigindex trust init` and `trust root`: a root is planned, signed by the keys that are here, and published or written
//! as a draft for the others.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::draft;
use super::keys;
use super::place::{OldKeyArgs, Place, PlaceArgs, WriteArgs};
use crate::cli::{out, status};
use crate::error::Error;
use crate::shown::shown;
use crate::trust::{self, Changes, Done, Draft, Founding, IndexMetadata, OldKey, described};
use crate::tuf::{Role, Root, parse_lifetime};

/// Where a draft goes whose signatures come from other machines.
#[derive(Debug, clap::Args)]
struct DraftArgs {
    /// Write what lacks signatures here, to be signed elsewhere with `trust sign` (- for stdout)
    #[arg(long, value_name = "FILE")]
    write_draft: Option<PathBuf>,
}

/// Flags of `trust init`.
#[derive(Debug, clap::Args)]
pub struct InitArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Key of the root (repeatable); its private half may be on another machine
    #[arg(long = "root-key", value_name = "NAME", required = true)]
    root_keys: Vec<String>,
    /// How many root keys have to sign a root
    #[arg(long, value_name = "N", default_value_t = 1)]
    threshold: u64,
    /// Key that signs the index with every run (repeatable; one signs)
    #[arg(long = "index-key", value_name = "NAME", required = true)]
    index_keys: Vec<String>,
    /// How long a role's metadata is good for, as in timestamp=14d (repeatable)
    /// [default: root=365d, targets=90d, snapshot=30d, timestamp=14d]
    #[arg(long, value_name = "ROLE=DURATION", value_parser = parse_lifetime)]
    expires: Vec<(Role, i64)>,
    #[command(flatten)]
    draft: DraftArgs,
    #[command(flatten)]
    write: WriteArgs,
}

/// Flags of `trust root`.
#[derive(Debug, clap::Args)]
pub struct RootArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Add a root key (repeatable)
    #[arg(long, value_name = "NAME")]
    add_root_key: Vec<String>,
    /// Revoke a root key (repeatable)
    #[arg(long, value_name = "NAME|FINGERPRINT")]
    revoke_root_key: Vec<String>,
    /// How many root keys have to sign a root from now on
    #[arg(long, value_name = "N")]
    threshold: Option<u64>,
    /// Add an index key (repeatable)
    #[arg(long, value_name = "NAME")]
    add_index_key: Vec<String>,
    /// Revoke an index key (repeatable)
    #[arg(long, value_name = "NAME|FINGERPRINT")]
    revoke_index_key: Vec<String>,
    /// How long a role's metadata is good for from now on, as in timestamp=14d (repeatable)
    #[arg(long, value_name = "ROLE=DURATION", value_parser = parse_lifetime)]
    expires: Vec<(Role, i64)>,
    /// Publish this draft with the signatures in it (repeatable: copies that others signed)
    #[arg(long = "draft", value_name = "FILE", conflicts_with_all = ["add_root_key", "revoke_root_key", "threshold", "add_index_key", "revoke_index_key", "expires"])]
    drafts: Vec<PathBuf>,
    /// Make the next version even where nothing changes but its end
    #[arg(long, conflicts_with = "drafts")]
    renew: bool,
    #[command(flatten)]
    old_key: OldKeyArgs,
    #[command(flatten)]
    draft: DraftArgs,
    #[command(flatten)]
    write: WriteArgs,
}

pub fn init(args: &InitArgs) -> Result<u8, Error> {
    let place = Place::lock(&args.place, &args.write)?;
    let public = |names: &[String]| keys::public(&place.folder, &place.keyring, names);
    let founding = Founding {
        root_keys: public(&args.root_keys)?,
        threshold: args.threshold,
        index_keys: public(&args.index_keys)?,
        lifetimes: args.expires.clone(),
    };
    let draft = trust::found(&place.desk(), founding)?;
    place.forget()?;
    let to = args.draft.write_draft.as_deref();
    go_on(&place, draft, &args.write, (to, OldKey::Refused))
}

pub fn run(args: &RootArgs) -> Result<u8, Error> {
    let place = Place::lock(&args.place, &args.write)?;
    let draft = match args.drafts.as_slice() {
        [] => propose(args, &place)?,
        [first, others @ ..] => {
            let mut whole = draft::read(first)?;
            for path in others {
                whole = whole.merge(&draft::read(path)?, &shown(path))?;
            }
            whole
        }
    };
    let to = args.draft.write_draft.as_deref();
    go_on(&place, draft, &args.write, (to, args.old_key.old_key()))
}

fn propose(args: &RootArgs, place: &Place) -> Result<Draft, Error> {
    let public = |names: &[String]| keys::public(&place.folder, &place.keyring, names);
    let changes = Changes {
        add_root: public(&args.add_root_key)?,
        revoke_root: args.revoke_root_key.clone(),
        threshold: args.threshold,
        add_index: public(&args.add_index_key)?,
        revoke_index: args.revoke_index_key.clone(),
        lifetimes: args.expires.clone(),
    };
    let is_none = changes.add_root.is_empty()
        && changes.revoke_root.is_empty()
        && changes.threshold.is_none()
        && changes.add_index.is_empty()
        && changes.revoke_index.is_empty()
        && changes.lifetimes.is_empty();
    if is_none && !args.renew {
        return Err(Error::Usage(
            "say what is to change (--add-root-key, --revoke-index-key, --threshold, …), or --renew for a later end alone; `sigindex trust show` shows what is"
                .to_owned(),
        ));
    }
    trust::propose(&place.desk(), &changes)
}

/// Signs with the root keys that are here, and publishes, or writes the draft.
fn go_on(
    place: &Place,
    draft: Draft,
    write: &WriteArgs,
    (to, old_key): (Option<&Path>, OldKey),
) -> Result<u8, Error> {
    let desk = place.desk();
    let say = |text: &str| {
        // Standard output may be the draft's.
        if !write.verbosity.quiet {
            out::message(text.trim_end());
        }
        Ok(0)
    };
    say(&described(&draft, desk.now))?;
    keys::mark(&place.folder, &draft.root.plan(), write.dry_run)?;
    let mut wanted = keys::prints(&draft.root.keys(Role::Root));
    let before = draft.before.as_ref();
    wanted.extend(
        before
            .map(|root| keys::prints(&root.keys(Role::Root)))
            .unwrap_or_default(),
    );
    let all: Vec<_> = draft
        .before
        .iter()
        .chain([&draft.root])
        .flat_map(|root| root.keys(Role::Root))
        .collect();
    let there: BTreeSet<_> = draft.root.signed_by(&all).into_iter().collect();
    wanted.retain(|key| !there.contains(key));
    let here = keys::private(&place.folder, &wanted)?;
    if write.dry_run {
        let names: Vec<_> = here.iter().map(|name| name.as_str()).collect();
        return say(&match names.as_slice() {
            [] => "nothing was written; no further root key is here to sign with".to_owned(),
            names => format!(
                "nothing was written; would be signed here by: {}",
                names.join(", ")
            ),
        });
    }
    let mut draft = draft;
    for name in &here {
        draft = draft.sign(keys::signer(&place.folder, name)?.as_ref())?;
    }
    let open = |root: &Root| keys::index_signer(place, root);
    match trust::change(&desk, draft, old_key, &open)? {
        Done::Published { root, index } => say(&published(place, &root, index)),
        Done::Unfinished { draft, missing } => match to {
            Some(path) => {
                draft::write(path, &draft)?;
                say(&format!(
                    "{missing}: nothing was published. Sign {} with `sigindex trust sign` where the other root keys are, and bring it back with `sigindex trust root {} --draft`",
                    shown(path),
                    place.name
                ))
            }
            None => {
                out::error(&format!(
                    "{}: {missing}, and nothing was published; write a draft with --write-draft FILE, have it signed with `sigindex trust sign` where the other root keys are, and bring it back with --draft FILE",
                    place.name
                ));
                Ok(status::FAILED)
            }
        },
    }
}

/// What was done, and what is to be done next.
fn published(place: &Place, root: &Root, index: IndexMetadata) -> String {
    let version = root.version();
    let mut text = format!(
        "root version {version} is published in {}/tuf\n",
        place.name
    );
    if version == 1 {
        text += "users install one of these root keys, and never another:\n";
        for key in root.keys(Role::Root) {
            text += &format!(
                "  sigindex keys add {}.pub --fingerprint {}\n",
                key.name, key.fingerprint
            );
        }
    }
    text += &match index {
        IndexMetadata::None => format!(
            "the next run of `sigindex {}` publishes the first signed index",
            place.name
        ),
        IndexMetadata::Stays => "the signed index stays good".to_owned(),
        IndexMetadata::Signed => {
            "the index was signed anew by an index key that the root names".to_owned()
        }
        IndexMetadata::Waits => format!(
            "the index is by a key that this root does not name, and clients refuse it until it is signed anew: if that key is in no other hands, run `sigindex trust refresh {} --trust-old-key` where the new one is; else look with `sigindex {} --accept-index --dry-run` what it takes in, and publish with `sigindex {} --accept-index`",
            place.name, place.name, place.name
        ),
    };
    text
}
