//! How long each role's metadata is good for. A root carries the channel's choice, so that every run that publishes
//! knows it.

use std::collections::BTreeMap;

use super::Role;

const DAY: i64 = 86_400;

/// The longest that metadata may be good for, in seconds: twenty years.
const MOST: i64 = 20 * 365 * DAY;

/// How long each role's metadata is good for, in seconds from the moment it is made.
///
/// The defaults are long, as a channel is often indexed by hand: the root a year, the targets 90 days, the snapshot
/// 30 and the timestamp 14. A role counts as due when less than a third is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lifetimes(BTreeMap<Role, i64>);

impl Default for Lifetimes {
    fn default() -> Self {
        let days = [
            (Role::Root, 365),
            (Role::Targets, 90),
            (Role::Snapshot, 30),
            (Role::Timestamp, 14),
        ];
        Lifetimes(days.into_iter().map(|(role, n)| (role, n * DAY)).collect())
    }
}

impl Lifetimes {
    /// Seconds.
    pub fn of(&self, role: Role) -> i64 {
        self.0.get(&role).copied().unwrap_or(DAY)
    }

    /// Sets a role's, in seconds: from 1 to twenty years.
    ///
    /// # Errors
    /// A sentence on what is taken.
    pub fn set(&mut self, role: Role, seconds: i64) -> Result<(), String> {
        if !(1..=MOST).contains(&seconds) {
            return Err("metadata is good for at least a second and at most 20 years".to_owned());
        }
        self.0.insert(role, seconds);
        Ok(())
    }

    /// When metadata that is made at `now` expires; both in milliseconds since 1970, the result in whole seconds.
    pub fn until(&self, role: Role, now: i64) -> i64 {
        let until = now
            .div_euclid(1000)
            .saturating_add(self.of(role))
            .saturating_mul(1000);
        // The end of jiff's calendar.
        until.min(jiff::Timestamp::MAX.as_millisecond())
    }

    /// Whether less than a third of a role's time is left.
    pub fn is_due(&self, role: Role, expires: i64, now: i64) -> bool {
        let left = expires.saturating_sub(now);
        left < self.of(role).saturating_mul(1000) / 3
    }
}

/// Reads `ROLE=DURATION`: `targets=90d`; units are `s`, `m`, `h`, `d`, `w` and `y`.
///
/// # Errors
/// A sentence on what is taken.
pub fn parse_lifetime(text: &str) -> Result<(Role, i64), String> {
    let form =
        || "write ROLE=DURATION, as in targets=90d; the units are s, m, h, d, w and y".to_owned();
    let (role, duration) = text.split_once('=').ok_or_else(form)?;
    let role = Role::ALL.into_iter().find(|known| known.as_str() == role);
    let role =
        role.ok_or("the roles are root, targets, snapshot and timestamp, as in targets=90d")?;
    let unit = duration.chars().last().ok_or_else(form)?;
    let number = duration.strip_suffix(unit).unwrap_or_default();
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => DAY,
        'w' => 7 * DAY,
        'y' => 365 * DAY,
        _ => return Err(form()),
    };
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let number: i64 = number.parse().ok().filter(|_| plain).ok_or_else(form)?;
    let seconds = number.checked_mul(seconds).ok_or_else(form)?;
    let mut lifetimes = Lifetimes::default();
    lifetimes.set(role, seconds)?;
    Ok((role, seconds))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations_are_read_strictly() {
        assert_eq!(parse_lifetime("targets=90d"), Ok((Role::Targets, 90 * DAY)));
        assert_eq!(
            parse_lifetime("timestamp=12h"),
            Ok((Role::Timestamp, 43_200))
        );
        assert_eq!(parse_lifetime("root=2y"), Ok((Role::Root, 730 * DAY)));
        for wrong in [
            "targets",
            "targets=",
            "targets=d",
            "targets=0d",
            "targets=-1d",
            "targets=1.5d",
            "keys=1d",
            "root=21y",
            "root=9223372036854775807y",
            "root=1é",
            "=1d",
            "root=+1d",
        ] {
            assert!(parse_lifetime(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_third_of_the_time_is_due() {
        let lifetimes = Lifetimes::default();
        let now = 1_800_000_000_123;
        let until = lifetimes.until(Role::Timestamp, now);
        assert_eq!(until, 1_800_000_000_000 + 14 * DAY * 1000);
        assert!(!lifetimes.is_due(Role::Timestamp, until, now));
        assert!(!lifetimes.is_due(Role::Timestamp, until, now + 9 * DAY * 1000));
        assert!(lifetimes.is_due(Role::Timestamp, until, now + 10 * DAY * 1000));
        assert!(lifetimes.is_due(Role::Timestamp, until, until + 1));
    }
}
