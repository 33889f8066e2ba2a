//! Commands that this build was made without.

use std::ffi::OsString;

use crate::error::Error;

/// Any words.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    _words: Vec<OsString>,
}

/// Says which feature is missing.
pub fn run(feature: &str) -> Result<u8, Error> {
    Err(Error::Usage(format!(
        "this sigindex was built without the feature `{feature}`; build it with `cargo install --locked --path . \
         --features {feature}`"
    )))
}
