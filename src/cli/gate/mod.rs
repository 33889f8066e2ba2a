//! `sigindex gate`: lets clients have only what verifies, until it is told to stop.

pub mod exec;
mod flags;
mod signals;

use std::net::SocketAddr;
use std::path::PathBuf;

use self::flags::Channels;
use super::options::{read_text, variable};
use super::out;
use crate::error::Error;
use crate::gate::{self, Token};

/// Where a token may come from.
const TOKEN: &str = "SIGINDEX_GATE_TOKEN";

/// The most bytes of a file with a token.
const TOKEN_FILE: u64 = 4096;

/// Flags of `gate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    channels: Channels,
    /// Where to listen; port 0 stands for any that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7423")]
    listen: SocketAddr,
    /// Put a secret into the gate's paths, for machines with several users: $SIGINDEX_GATE_TOKEN, else a new one
    #[arg(long, conflicts_with = "token_file")]
    token: bool,
    /// Put the secret of this file into the gate's paths
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<u8, Error> {
    let mut plan = args.channels.plan(args.listen)?;
    plan.token = args.token()?;
    let is_open = !args.listen.ip().is_loopback();
    if is_open {
        let secret = match plan.token {
            Some(_) => "who knows the token",
            None => "who reaches it; --token takes a secret",
        };
        let listen = args.listen;
        out::warning(&format!(
            "{listen}: other machines reach the gate there, without encryption: it serves all {secret}"
        ));
    }
    let mut signals = signals::Signals::of_server()?;
    let gate = gate::start(plan)?;
    out::result(&format!("{}\n", gate.url()))?;
    signals.wait_for_end();
    gate.shut_down();
    Ok(0)
}

impl Args {
    fn token(&self) -> Result<Option<Token>, Error> {
        if let Some(path) = &self.token_file {
            let text = read_text(path, TOKEN_FILE, "read the gate's token")?;
            return Token::parse(text.trim_end()).map(Some);
        }
        match variable(TOKEN)? {
            Some(text) => Token::parse(&text).map(Some),
            None if self.token => Token::make().map(Some),
            None => Ok(None),
        }
    }
}
