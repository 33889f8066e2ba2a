//! A gate in front of a channel that is published again and again while clients read it: none of them ever sees a
//! mixture of two generations, or a refusal.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

#[path = "support/builder.rs"]
mod builder;
#[path = "support/gate.rs"]
mod gate;
#[path = "support/msgpack.rs"]
mod msgpack;
#[path = "support/program.rs"]
mod program;
#[path = "support/shared.rs"]
mod shared;
#[path = "support/signed.rs"]
mod signed;

use builder::{Format, PackageSpec};
use gate::{Reply, try_get};
use signed::{Operator, SUBDIR};

/// How often the channel is published, unless `SIGINDEX_PUBLISHES` says another number.
const PUBLISHES: usize = 200;
const CLIENTS: usize = 16;

#[test]
fn clients_of_a_channel_that_is_published_all_the_time_see_whole_generations() {
    let publishes = std::env::var("SIGINDEX_PUBLISHES").ok();
    let publishes = publishes.map_or(PUBLISHES, |number| number.parse().unwrap());
    let operator = Operator::new();
    let channel = operator.channel();
    let user = operator.user(&["root"]);
    let gate = user.gate(channel.to_str().unwrap(), &[]);
    let (ended, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (url, ended, rounds) = (gate.url.as_str(), &ended, &rounds);
                scope.spawn(move || {
                    let mut wrong = Vec::new();
                    while !ended.load(Ordering::Relaxed) && wrong.is_empty() {
                        let round = match (number + rounds.fetch_add(1, Ordering::Relaxed)) % 2 {
                            0 => through_shards(url),
                            _ => through_repodata(url),
                        };
                        wrong.extend(round.err());
                    }
                    wrong
                })
            })
            .collect();
        for number in 0..publishes {
            // Packages come, and most of them go.
            let spec = |number: usize| PackageSpec::new("moving", "1.0", &number.to_string());
            operator.put(&spec(number));
            if let Some(old) = number.checked_sub(2).filter(|old| old % 4 != 0) {
                let path = spec(old).subdir(SUBDIR).path_in_channel(Format::TarBz2);
                std::fs::remove_file(operator.file(&path)).unwrap();
            }
            operator.publish();
        }
        ended.store(true, Ordering::Relaxed);
        clients
            .into_iter()
            .flat_map(|client| client.join().unwrap())
            .collect()
    });
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), gate.said());
    let rounds = rounds.load(Ordering::Relaxed);
    assert!(rounds > CLIENTS, "only {rounds} rounds");
}

/// A reply that has to be there.
fn served(url: &str, path: &str) -> Result<Reply, String> {
    let reply = try_get(url, path)?;
    match reply.status {
        200 => Ok(reply),
        status => Err(format!("{path}: {status} {}", reply.text())),
    }
}

/// As clients do that know shards: the index, every shard that it names, and a package.
fn through_shards(url: &str) -> Result<(), String> {
    let index = served(url, &format!("main/{SUBDIR}/repodata_shards.msgpack.zst"))?;
    let index = msgpack::value(&index.body);
    for (name, hash) in index["shards"].as_object().unwrap() {
        let hash = hash.as_str().unwrap();
        let shard = served(url, &format!("main/{SUBDIR}/shards/{hash}.msgpack.zst"))?;
        if hex(&Sha256::digest(&shard.body)) != hash {
            return Err(format!("the shard of {name} is not what the index names"));
        }
    }
    Ok(())
}

/// As clients do that do not: both forms of the index, and the packages that always are there.
fn through_repodata(url: &str) -> Result<(), String> {
    let index = served(url, &format!("main/{SUBDIR}/repodata.json"))?;
    let index: Value = serde_json::from_slice(&index.body).map_err(|error| error.to_string())?;
    let packages = index["packages"].as_object().unwrap();
    for (name, record) in packages {
        if name.starts_with("moving-") {
            continue;
        }
        let package = served(url, &format!("main/{SUBDIR}/{name}"))?;
        if hex(&Sha256::digest(&package.body)) != record["sha256"].as_str().unwrap() {
            return Err(format!("{name} is not what the index names"));
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
