//! `sigindex publish`: writes the index from what `sigindex scan` remembered. No package is opened, and none is signed.

use super::index::args::{AcceptArgs, Flags, HoldArgs, SignedArgs, TrustArgs};
use super::index::files::FileArgs;
use super::index::{Common, Opening, end};
use crate::error::Error;
use crate::index;
use crate::storage::LockFor;

/// Flags of `publish`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    trust: TrustArgs,
    #[command(flatten)]
    hold: HoldArgs,
    #[command(flatten)]
    files: FileArgs,
    #[command(flatten)]
    accept: AcceptArgs,
    #[command(flatten)]
    signed: SignedArgs,
    #[command(flatten)]
    common: Common,
}

pub fn run(args: &Args) -> Result<u8, Error> {
    let flags = Flags {
        common: &args.common,
        trust: &args.trust,
        accept: args.accept,
        anew: None,
        publishing: Some((args.hold, &args.files, args.signed)),
    };
    let result = flags.config().and_then(|config| {
        let opening = Opening {
            common: &args.common,
            signing: None,
            lock: LockFor::Alone,
        };
        opening.work(|tools| index::publish(&config, tools))
    });
    end(&args.common, result)
}
