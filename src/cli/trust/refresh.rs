//! `sigindex trust refresh`: renews what expires soon.

use super::keys;
use super::place::{OldKeyArgs, Place, PlaceArgs, WriteArgs};
use crate::cli::out;
use crate::error::Error;
use crate::trust::{self, Which, shown};
use crate::tuf::Root;

/// Flags of `trust refresh`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: PlaceArgs,
    /// Renew all, whenever it expires
    #[arg(long, visible_alias = "now")]
    all: bool,
    #[command(flatten)]
    old_key: OldKeyArgs,
    /// Print the result as JSON on stdout
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    write: WriteArgs,
}

pub fn run(args: &Args) -> Result<u8, Error> {
    let place = Place::lock(&args.place, &args.write)?;
    let desk = place.desk();
    let which = if args.all { Which::All } else { Which::Due };
    let open = |root: &Root| keys::index_signer(&place, root);
    let done = trust::refresh(&desk, (which, args.old_key.old_key()), &open)?;
    if done.is_new() && !args.write.dry_run {
        let versions = done.generation.versions.iter();
        let versions = versions.map(|(role, version)| (role.as_str().to_owned(), *version));
        place.saw(&versions.collect())?;
    }
    let after = shown(
        &place.name,
        &done.generation.root,
        Some(&done.generation),
        desk.now,
    );
    if args.json {
        let renewed: Vec<_> = done.due.iter().map(|role| role.as_str()).collect();
        let text = serde_json::json!({ "renewed": done.is_new() && !args.write.dry_run, "due": renewed, "index": after });
        out::result(&format!("{text}\n"))?;
    } else if !args.write.verbosity.quiet {
        let said = match (done.is_new(), args.write.dry_run) {
            (false, _) => "nothing is due",
            (true, true) => "would be renewed",
            (true, false) => "renewed",
        };
        out::result(&format!("{}{said}\n", after.text()))?;
    }
    if done.root_is_due(desk.now) {
        out::warning(&format!(
            "{}: the root expires soon, and only its own keys renew it: `sigindex trust root {} --renew`",
            place.name, place.name
        ));
    }
    Ok(0)
}
