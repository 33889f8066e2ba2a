//! Roots and generations in plain words, and as values for machines.

use std::fmt::Write as _;

use serde::Serialize;

use super::draft::Draft;
use crate::tuf::{Generation, Role, Root};

const DAY: i64 = 86_400_000;

/// What people see of a signed index.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// The channel.
    pub channel: String,
    /// How many root keys have to sign.
    pub threshold: u64,
    /// The root's keys.
    pub root_keys: Vec<ShownKey>,
    /// The keys that sign the index.
    pub index_keys: Vec<ShownKey>,
    /// Each role.
    pub roles: Vec<ShownRole>,
    /// How many target files are signed.
    pub targets: usize,
}

/// A key.
#[derive(Debug, Serialize)]
pub struct ShownKey {
    /// Its name.
    pub name: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// Its size.
    pub bits: u32,
}

/// A role's metadata.
#[derive(Debug, Serialize)]
pub struct ShownRole {
    /// The role.
    pub role: &'static str,
    /// Its version.
    pub version: u64,
    /// When it expires, in milliseconds since 1970.
    pub expires: i64,
    /// Whole days left; below nothing once it has expired.
    pub days_left: i64,
    /// Whether less than a third of its time is left.
    pub due: bool,
}

/// Whole days until a moment, both in milliseconds since 1970.
pub fn days_left(expires: i64, now: i64) -> i64 {
    expires.saturating_sub(now).div_euclid(DAY)
}

/// A signed index as people see it.
pub fn shown(channel: &str, root: &Root, generation: Option<&Generation>, now: i64) -> Shown {
    let keys = |role| root.keys(role).iter().map(shown_key).collect();
    let lifetimes = root.lifetimes();
    let role = |role: Role, version: u64, expires: i64| ShownRole {
        role: role.as_str(),
        version,
        expires,
        days_left: days_left(expires, now),
        due: lifetimes.is_due(role, expires, now),
    };
    let mut roles = vec![role(Role::Root, root.version(), root.expires())];
    for signed in [Role::Timestamp, Role::Snapshot, Role::Targets] {
        let found = generation.and_then(|generation| {
            Some((
                *generation.versions.get(&signed)?,
                *generation.expires.get(&signed)?,
            ))
        });
        roles.extend(found.map(|(version, expires)| role(signed, version, expires)));
    }
    Shown {
        channel: channel.to_owned(),
        threshold: root.threshold(Role::Root),
        root_keys: keys(Role::Root),
        index_keys: keys(Role::Targets),
        roles,
        targets: generation.map_or(0, |generation| generation.targets.len()),
    }
}

fn shown_key(key: &crate::tuf::RoleKey) -> ShownKey {
    ShownKey {
        name: key.name.to_string(),
        fingerprint: key.fingerprint.to_string(),
        bits: key.bits,
    }
}

impl Shown {
    /// A table for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a String can't fail.
        let _ = writeln!(text, "{}", self.channel);
        text += &keys_text("root key", &self.root_keys);
        let _ = writeln!(
            text,
            "{:<12} {} of {}",
            "threshold",
            self.threshold,
            self.root_keys.len()
        );
        text += &keys_text("index key", &self.index_keys);
        for role in &self.roles {
            let left = left(role.days_left);
            let due = if role.due { ", to be renewed" } else { "" };
            let _ = writeln!(
                text,
                "{:<12} version {}, {left}{due}",
                role.role, role.version
            );
        }
        if self.roles.len() == 1 {
            text += "nothing is published under this root yet; the next run of `sigindex` on the channel does it\n";
        } else {
            let _ = writeln!(text, "{:<12} {} files", "signed", self.targets);
        }
        text
    }
}

fn left(days: i64) -> String {
    match days {
        ..0 => "expired".to_owned(),
        0 => "less than a day left".to_owned(),
        1 => "1 day left".to_owned(),
        days => format!("{days} days left"),
    }
}

fn keys_text(kind: &str, keys: &[ShownKey]) -> String {
    let mut text = String::new();
    for key in keys {
        let _ = writeln!(
            text,
            "{kind:<12} {}  {}  {} bits",
            key.name, key.fingerprint, key.bits
        );
    }
    text
}

/// What a draft says, and what it changes, for whoever signs it.
pub fn described(draft: &Draft, now: i64) -> String {
    let root = &draft.root;
    let keys = |root: &Root, role| root.keys(role).iter().map(shown_key).collect::<Vec<_>>();
    let mut text = format!(
        "root version {}, {}\n",
        root.version(),
        left(days_left(root.expires(), now))
    );
    text += &keys_text("root key", &keys(root, Role::Root));
    let (threshold, number) = (root.threshold(Role::Root), root.keys(Role::Root).len());
    let _ = writeln!(text, "{:<12} {threshold} of {number}", "threshold");
    text += &keys_text("index key", &keys(root, Role::Targets));
    for role in Role::ALL {
        let lifetime = duration(root.lifetimes().of(role));
        let _ = writeln!(
            text,
            "{:<12} good for {lifetime} from when it is made",
            role.as_str()
        );
    }
    text += &match &draft.before {
        None => "this is the first root: whoever installs one of its root keys trusts this channel's index\n".to_owned(),
        Some(before) => changes(before, root),
    };
    text
}

fn changes(before: &Root, root: &Root) -> String {
    let mut text = String::new();
    for (role, kind) in [(Role::Root, "root key"), (Role::Targets, "index key")] {
        let (old, new) = (before.keys(role), root.keys(role));
        for key in &new {
            if !old.iter().any(|known| known.fingerprint == key.fingerprint) {
                let _ = writeln!(
                    text,
                    "change: {kind} {} ({}) is new",
                    key.name, key.fingerprint
                );
            }
        }
        for key in &old {
            if !new.iter().any(|known| known.fingerprint == key.fingerprint) {
                let _ = writeln!(
                    text,
                    "change: {kind} {} ({}) is revoked",
                    key.name, key.fingerprint
                );
            }
        }
    }
    let (old, new) = (before.threshold(Role::Root), root.threshold(Role::Root));
    if old != new {
        let _ = writeln!(text, "change: {new} root keys have to sign, and not {old}");
    }
    for role in Role::ALL {
        let (old, new) = (before.lifetimes().of(role), root.lifetimes().of(role));
        if old != new {
            let _ = writeln!(
                text,
                "change: {role} is good for {}, and not {}",
                duration(new),
                duration(old)
            );
        }
    }
    if text.is_empty() {
        text += "change: none but its version and when it expires\n";
    }
    text
}

/// A time in the largest unit that it is a whole number of.
fn duration(seconds: i64) -> String {
    for (unit, name) in [(86_400, "days"), (3600, "hours"), (60, "minutes")] {
        if seconds % unit == 0 {
            return format!("{} {name}", seconds / unit);
        }
    }
    format!("{seconds} seconds")
}
