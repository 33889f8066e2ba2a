//! What the numbers were measured on, for a reader. Owns these words; it must not know what was measured.

use std::fs;

use crate::arena::Rules;

/// One paragraph: processor, memory, versions, and how it was measured.
pub fn about(rules: &Rules) -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let versions = rules.peers.there.iter();
    let versions = versions.map(|peer| peer.version().unwrap_or_else(|| peer.name.clone()));
    let mut who = vec![format!("sigindex {}", env!("CARGO_PKG_VERSION"))];
    who.extend(versions);
    let peer_runs = rules.peer_runs.min(rules.runs);
    format!(
        "{cores} cores of {}, {} GiB. {}. Whole processes, wall seconds; medians of {} runs ({peer_runs} of peers), all in turn, \
         each on its own copy of the same files. {}.",
        line("/proc/cpuinfo", "model name").unwrap_or_else(|| "an unknown processor".to_owned()),
        memory().map_or("?".to_owned(), |gib| gib.to_string()),
        who.join(", "),
        rules.runs,
        rules.gauge.about()
    )
}

fn memory() -> Option<u64> {
    let kib: u64 = line("/proc/meminfo", "MemTotal")?
        .trim_end_matches(" kB")
        .parse()
        .ok()?;
    Some(kib.div_ceil(1024 * 1024))
}

/// What stands behind the colon in a file's first line of this name.
fn line(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
