//! What a run leaves that says that it published all but the packages that it refused. Owns the comparison with a run
//! that refused none.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::check::{self, State};
use crate::reader;
use crate::scenario::Scenario;
use crate::scene::Scene;

/// What was refused, by path in the channel.
struct Refused(BTreeSet<String>);

impl Refused {
    fn of(report: &str) -> Result<Self, String> {
        let report: Value = serde_json::from_str(report).map_err(|error| error.to_string())?;
        let all = report["refused"].as_array().into_iter().flatten();
        let paths = all.filter_map(|one| one["package"].as_str().map(str::to_owned));
        let refused = Refused(paths.collect());
        match refused.0.is_empty() || report["published"] != true {
            true => Err("it refused nothing, or published nothing".to_owned()),
            false => Ok(refused),
        }
    }

    fn has(&self, subdir: &str, name: &str) -> bool {
        self.0.contains(&format!("{subdir}/{name}"))
    }

    fn touches(&self, subdir: &str) -> bool {
        let subdir = format!("{subdir}/");
        self.0.iter().any(|path| path.starts_with(&subdir))
    }
}

/// Every index lists what is listed without faults, the refused left out; none of these was published before; what
/// nothing was refused of is as it is without faults; and all files agree.
pub fn all_others_are_published(
    scenario: &Scenario,
    scene: &Scene,
    report: &str,
    [before, after]: [&State; 2],
) -> Result<(), String> {
    let refused = Refused::of(report)?;
    let found = check::whole_state(scenario, scene);
    for path in after.keys() {
        let in_place = path.strip_prefix(scenario.place()).unwrap_or_default();
        let parts: Vec<&str> = in_place.split('/').collect();
        let &["", subdir, "repodata.json"] = parts.as_slice() else {
            continue;
        };
        let mut wanted = records(after.get(path));
        wanted.retain(|name, _| !refused.has(subdir, name));
        if records(found.get(path)) != wanted {
            return Err(format!("{path} lacks what was not refused, or lists more"));
        }
        let before = records(before.get(path));
        if let Some(name) = before.keys().find(|name| refused.has(subdir, name)) {
            return Err(format!(
                "{subdir}/{name} was published, and is not any more"
            ));
        }
        if !refused.touches(subdir) {
            let folder = path.trim_end_matches("repodata.json");
            let [found, after] = [&found, after].map(|state| below(state, folder));
            check::differ(&found, &after).map_or(Ok(()), Err)?;
        }
    }
    check::agree(scenario, scene)
}

fn records(index: Option<&Vec<u8>>) -> BTreeMap<String, Value> {
    let index = index.map(|bytes| serde_json::from_slice(bytes).unwrap());
    reader::records_of(&index.unwrap_or_default())
}

/// What lies in a folder, pages aside, which count the packages of all of them.
fn below(state: &State, folder: &str) -> State {
    let is_in = |path: &str| path.starts_with(folder) && !path.ends_with("/index.html");
    let all = state.iter().filter(|(path, _)| is_in(path));
    all.map(|(path, bytes)| (path.clone(), bytes.clone()))
        .collect()
}
