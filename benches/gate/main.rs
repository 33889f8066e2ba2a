//! The gate beside nginx: the same signed packages, from the gate's cache and from the folder, to the same clients
//! (wrk), in turn. Owns the order of the rounds. `cargo bench --bench gate -- --rounds 5`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Parser;

#[path = "../../tests/support/builder.rs"]
mod builder;
mod load;
mod server;

use builder::{Format, PackageSpec};
use load::Load;
use server::Server;

/// Measures the gate, and nginx beside it.
#[derive(Parser)]
#[command(name = "cargo bench --bench gate --")]
struct Options {
    /// The sizes of packages, in bytes, each with how many there are
    #[arg(long, value_delimiter = ',', default_value = "20000x64,1000000x16,50000000x4", value_parser = size)]
    sizes: Vec<(usize, usize)>,
    /// How many clients there are at once
    #[arg(long, value_name = "N", default_value_t = 16)]
    clients: u32,
    /// How long each is measured in each round
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    seconds: u32,
    /// How many rounds there are
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// Where the channel is made, for as long as it runs [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// What cargo adds of itself
    #[arg(long, hide = true)]
    bench: bool,
}

fn size(text: &str) -> Result<(usize, usize), String> {
    let (bytes, count) = text.split_once('x').ok_or("write BYTESxCOUNT")?;
    let number = |text: &str| text.parse().map_err(|_| "write BYTESxCOUNT".to_owned());
    Ok((number(bytes)?, number(count)?))
}

fn main() -> ExitCode {
    match compare(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("could not measure: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> io::Result<()> {
    let scratch = match &options.scratch {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let channel = scratch.path().join("channel");
    let sizes: Vec<_> = options
        .sizes
        .iter()
        .map(|size| make(&channel, *size))
        .collect();
    publish(scratch.path())?;
    let servers = [
        Server::gate(scratch.path())?,
        Server::nginx(scratch.path())?,
    ];
    println!(
        "{} clients, {} rounds of {} s each; medians",
        options.clients, options.rounds, options.seconds
    );
    println!("| bytes | gate, answers/s | nginx, answers/s | gate, MB/s | nginx, MB/s | ratio |");
    println!("| ---: | ---: | ---: | ---: | ---: | ---: |");
    for ((bytes, _), paths) in options.sizes.iter().zip(&sizes) {
        let load = Load::new(scratch.path(), paths, options.clients, options.seconds)?;
        let mut rates = [Vec::new(), Vec::new()];
        for server in &servers {
            server.warm(paths)?;
        }
        for _ in 0..options.rounds {
            for (server, rates) in servers.iter().zip(&mut rates) {
                rates.push(load.on(server)?);
            }
        }
        let [gate, nginx] = rates.map(median);
        let megabytes = |rate: f64| rate * *bytes as f64 / 1e6;
        println!(
            "| {bytes} | {gate:.0} | {nginx:.0} | {:.0} | {:.0} | {:.2} |",
            megabytes(gate),
            megabytes(nginx),
            gate / nginx
        );
    }
    Ok(())
}

/// Makes packages of one size, and gives their paths in the channel.
fn make(channel: &Path, (bytes, count): (usize, usize)) -> Vec<String> {
    let package = |number| {
        let name = format!("p{bytes}-{number}");
        let spec = PackageSpec::new(&name, "1.0", "0");
        let spec = spec.payload_size(bytes, (bytes + number) as u64);
        spec.write_to(channel, Format::Conda);
        spec.path_in_channel(Format::Conda)
    };
    (0..count).map(package).collect()
}

/// Signs and indexes the channel.
fn publish(scratch: &Path) -> io::Result<()> {
    let done = Command::new(server::SIGINDEX)
        .args([
            "channel",
            "--keys-dir",
            "keys",
            "--create-key",
            "bench",
            "--cache",
            "cache/index.db",
            "-q",
        ])
        .current_dir(scratch)
        .status()?;
    done.success()
        .then_some(())
        .ok_or_else(|| io::Error::other("the channel could not be signed"))
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}
