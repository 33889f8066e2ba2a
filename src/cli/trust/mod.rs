//! `sigindex trust`: switches the signed index of a channel on, changes who may sign it, and renews it.

mod draft;
mod keys;
mod place;
mod refresh;
mod root;
mod show;

use crate::error::Error;

/// Verbs of `trust`.
#[derive(Debug, clap::Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a channel's first root: from then on its index is signed
    Init(root::InitArgs),
    /// Make and publish the next root: other keys, another threshold, a later end
    Root(root::RootArgs),
    /// Sign a draft of a root, on whatever machine the root key is
    Sign(draft::Args),
    /// Renew what expires soon, reading no package
    Refresh(refresh::Args),
    /// Show who may sign, and how many days are left
    Show(show::Args),
}

pub fn run(args: &Args) -> Result<u8, Error> {
    match &args.verb {
        Verb::Init(args) => root::init(args),
        Verb::Root(args) => root::run(args),
        Verb::Sign(args) => draft::run(args),
        Verb::Refresh(args) => refresh::run(args),
        Verb::Show(args) => show::run(args),
    }
}
