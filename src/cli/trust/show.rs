//! `sigindex trust show`: who may sign a channel's index, and how long it is good for.

use super::place::{Place, PlaceArgs};
use crate::cli::out;
use crate::error::Error;
use crate::trust::shown;

/// Flags of `trust show`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: PlaceArgs,
    /// Print it as JSON on stdout
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> Result<u8, Error> {
    let place = Place::open(&args.place)?;
    let desk = place.desk();
    let root = desk.root()?;
    let generation = desk.generation()?;
    let shown = shown(&place.name, &root, generation.as_ref(), desk.now);
    if args.json {
        let text = serde_json::to_string(&shown).unwrap_or_default();
        out::result(&format!("{text}\n"))?;
    } else {
        out::result(&shown.text())?;
    }
    Ok(0)
}
