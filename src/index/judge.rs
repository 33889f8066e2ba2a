//! A package's states, as the contract's table has them. Owns the verdict on one package; pure: it
//! opens, signs and prints nothing.

use std::collections::HashMap;

use super::glob::Glob;
use crate::cache::Checked;
use crate::channel::NameFault;
use crate::error::Error;
use crate::keys::KeyName;
use crate::record::unhex;

/// What may be signed, and what is listed.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// What happens to a package without a signature.
    pub signing: Signing,
    /// Packages whose changed bytes or broken signatures are replaced.
    pub replace: Option<Glob>,
    /// Sign anew what is signed.
    pub resign: bool,
    /// List packages that are signed by a key that is not known.
    pub keep_unknown: bool,
    /// List packages whose metadata contradicts their place.
    pub allow_mismatch: bool,
}

/// What happens to a package without a signature.
#[derive(Debug, Clone, Default)]
pub enum Signing {
    /// It is signed.
    #[default]
    All,
    /// It is signed when the list names it, else refused.
    Listed(SignList),
    /// It is refused.
    Required,
    /// It is listed as unsigned.
    Off,
}

/// What is known of a package's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SigState {
    /// There is none.
    Absent,
    /// It holds, by a key in the keys folder.
    Valid(Checked),
    /// It does not hold, or can't be read.
    Invalid(String),
    /// Its key is not in the keys folder.
    Unknown {
        /// The name in it.
        key: KeyName,
        /// The signature, in base64.
        value: String,
    },
    /// Its key is in the keys folder and can't be used: too weak, or broken.
    Unusable(String),
    /// A folder lies in its place, by path.
    Blocked(String),
}

/// What is known of one package.
#[derive(Debug)]
pub struct Evidence<'a> {
    /// Its path in the channel.
    pub path: &'a str,
    /// The SHA-256 of its bytes.
    pub sha256: &'a [u8; 32],
    /// Whether sigindex published other bytes under this name.
    pub changed: bool,
    /// How its metadata contradicts its place.
    pub mismatch: Option<&'a str>,
    /// Its signature.
    pub signature: SigState,
    /// Why the list of attestations beside it does not hold, where that is so.
    pub attestations: Option<&'a str>,
}

/// What is done with a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Listed with the signature it has.
    Keep(Checked),
    /// Signed, and listed.
    Sign,
    /// Listed without a signature.
    Unsigned,
    /// Listed with a signature that nobody could check.
    Unverified {
        /// The name in the signature.
        key: KeyName,
        /// The signature, in base64.
        value: String,
    },
    /// Left out.
    Refuse(Refusal),
}

/// Why a package is left out of the index, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The file name.
    #[error(transparent)]
    Name(#[from] NameFault),
    /// The archive or its metadata.
    #[error("{0}")]
    Unreadable(String),
    /// The file could not be opened or changed meanwhile.
    #[error("{0}; run again when it is at rest")]
    Unsteady(String),
    /// Metadata and place contradict each other.
    #[error("{0}; rename or move it, or list it as it is with --allow-mismatch")]
    Mismatch(String),
    /// Other bytes than those published.
    #[error(
        "changed since it was published; put the published file back, or accept the new one with --replace={0}"
    )]
    Changed(String),
    /// The signature is invalid or unreadable.
    #[error(
        "its signature is invalid: {why}; find out who changed it, or sign it anew with --replace={path}"
    )]
    Invalid {
        /// What is wrong with it.
        why: String,
        /// The package.
        path: String,
    },
    /// No public key of that name.
    #[error(
        "unknown key: it is signed by {0}, and {0}.pub is not in the keys folder; put it there, or list it unverified with --keep-unknown"
    )]
    UnknownKey(KeyName),
    /// A key that can't be used.
    #[error("{0}")]
    UnusableKey(String),
    /// What can't be replaced as a file can.
    #[error("a folder lies where its signature belongs: remove {0}")]
    Blocked(String),
    /// `--require-signed`
    #[error("it has no signature, and --require-signed is given")]
    Unsigned,
    /// The list of attestations beside it.
    #[error("its attestations do not hold: {0}")]
    Attestations(String),
    /// What is listed has to be read back.
    #[error(
        "there is no room for it in the shard of its name: what others of that name take leaves too little of the 64 MiB, or of the values, that are read back; take old packages of that name out, or leave shards out with --no-write-shards"
    )]
    NoRoom,
    /// Only what was scanned is published.
    #[error(
        "it was not scanned as it lies there now: run `sigindex scan`, which reads it and signs it, or says why it can't"
    )]
    NotScanned,
    /// `--sign-only`
    #[error("it has no signature, and the list of --sign-only {0}")]
    NotListed(&'static str),
}

/// The verdict on a package. Where several states fit, the order is: changed since it was published,
/// invalid, unknown key, attestations (unreadable comes first of all, and never gets here).
pub fn judge(evidence: Evidence<'_>, policy: &Policy) -> Verdict {
    let Evidence {
        path,
        sha256,
        changed,
        mismatch,
        signature,
        attestations,
    } = evidence;
    let replace = policy
        .replace
        .as_ref()
        .is_some_and(|glob| glob.covers(path));
    if let (Some(why), false) = (mismatch, policy.allow_mismatch) {
        return Verdict::Refuse(Refusal::Mismatch(why.to_owned()));
    }
    if changed && !replace {
        return Verdict::Refuse(Refusal::Changed(path.to_owned()));
    }
    let verdict = match signature {
        SigState::Valid(_) if policy.resign && policy.signing.may_sign(path, sha256) => {
            Verdict::Sign
        }
        SigState::Valid(checked) => Verdict::Keep(checked),
        SigState::Absent => policy.signing.of_unsigned(path, sha256),
        SigState::Invalid(_) if replace && policy.signing.may_sign(path, sha256) => Verdict::Sign,
        SigState::Invalid(why) => Verdict::Refuse(Refusal::Invalid {
            why,
            path: path.to_owned(),
        }),
        SigState::Unknown { key, value } if policy.keep_unknown => {
            Verdict::Unverified { key, value }
        }
        SigState::Unknown { key, .. } => Verdict::Refuse(Refusal::UnknownKey(key)),
        SigState::Unusable(why) => Verdict::Refuse(Refusal::UnusableKey(why)),
        SigState::Blocked(path) => Verdict::Refuse(Refusal::Blocked(path)),
    };
    match (verdict, attestations) {
        (Verdict::Refuse(refusal), _) => Verdict::Refuse(refusal),
        (_, Some(why)) => Verdict::Refuse(Refusal::Attestations(why.to_owned())),
        (verdict, None) => verdict,
    }
}

impl Signing {
    fn may_sign(&self, path: &str, sha256: &[u8; 32]) -> bool {
        self.of_unsigned(path, sha256) == Verdict::Sign
    }

    fn of_unsigned(&self, path: &str, sha256: &[u8; 32]) -> Verdict {
        match self {
            Signing::All => Verdict::Sign,
            Signing::Off => Verdict::Unsigned,
            Signing::Required => Verdict::Refuse(Refusal::Unsigned),
            Signing::Listed(list) => match list.find(path) {
                None => Verdict::Refuse(Refusal::NotListed("does not name it")),
                Some(listed) if listed == sha256 => Verdict::Sign,
                Some(_) => Verdict::Refuse(Refusal::NotListed("names it with another SHA-256")),
            },
        }
    }
}

/// Which packages may be signed: a list in the form that `sha256sum` writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SignList {
    by_name: HashMap<String, [u8; 32]>,
}

impl SignList {
    /// Reads a list. A name is a package's path in the channel, or its file name alone.
    ///
    /// # Errors
    /// At the first line that is not of that form, or that names a file twice with two digests.
    pub fn parse(path: &str, text: &str) -> Result<SignList, Error> {
        let mut by_name = HashMap::new();
        for (number, line) in text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
        {
            let fault = || Error::SignList {
                path: path.to_owned(),
                line: number.saturating_add(1),
            };
            let (digest, name) = line.split_once([' ', '\t']).ok_or_else(fault)?;
            let name = name.strip_prefix([' ', '*']).unwrap_or(name).trim_end();
            let name = in_channel(name);
            let digest = unhex(digest)
                .filter(|_| !name.is_empty())
                .ok_or_else(fault)?;
            if by_name
                .insert(name.to_owned(), digest)
                .is_some_and(|earlier| earlier != digest)
            {
                return Err(fault());
            }
        }
        Ok(SignList { by_name })
    }

    fn find(&self, path: &str) -> Option<&[u8; 32]> {
        let name = path.rsplit('/').next()?;
        self.by_name.get(path).or_else(|| self.by_name.get(name))
    }
}

/// A path's last two parts, `subdir/file`, wherever the list was made; or its only part.
fn in_channel(path: &str) -> &str {
    let path = path.strip_prefix("./").unwrap_or(path);
    let mut slashes = path.rmatch_indices('/').skip(1);
    slashes
        .next()
        .and_then(|(at, _)| path.get(at.saturating_add(1)..))
        .unwrap_or(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::string_slice)]
    use super::*;
    use crate::keys::Fingerprint;
    use crate::storage::Stat;

    fn key() -> KeyName {
        KeyName::parse("K").unwrap()
    }

    fn valid() -> SigState {
        let fingerprint = Fingerprint::parse(&"ab".repeat(32)).unwrap();
        SigState::Valid(Checked {
            stat: Stat::default(),
            key: key(),
            fingerprint,
            value: String::new(),
        })
    }

    fn said(signature: SigState, changed: bool, policy: &Policy) -> String {
        let evidence = Evidence {
            path: "noarch/a-1-0.conda",
            sha256: &[7; 32],
            changed,
            mismatch: None,
            signature,
            attestations: None,
        };
        match judge(evidence, policy) {
            Verdict::Keep(_) => "keep".to_owned(),
            Verdict::Sign => "sign".to_owned(),
            Verdict::Unsigned => "unsigned".to_owned(),
            Verdict::Unverified { .. } => "unverified".to_owned(),
            Verdict::Refuse(Refusal::Changed(_)) => "changed".to_owned(),
            Verdict::Refuse(Refusal::Invalid { .. }) => "invalid".to_owned(),
            Verdict::Refuse(Refusal::UnknownKey(_)) => "unknown".to_owned(),
            Verdict::Refuse(_) => "refused".to_owned(),
        }
    }

    #[test]
    fn the_contracts_table() {
        let plain = Policy::default();
        let glob = |pattern: &str| Some(Glob::parse(pattern).unwrap());
        let replace = Policy {
            replace: glob("*"),
            ..plain.clone()
        };
        let other = Policy {
            replace: glob("b-*"),
            ..plain.clone()
        };
        let by_name = Policy {
            replace: glob("a-*.conda"),
            ..plain.clone()
        };
        let resign = Policy {
            resign: true,
            ..plain.clone()
        };
        let keep_unknown = Policy {
            keep_unknown: true,
            ..plain.clone()
        };
        let off = Policy {
            signing: Signing::Off,
            ..replace.clone()
        };
        let required = Policy {
            signing: Signing::Required,
            ..plain.clone()
        };
        let unknown = || SigState::Unknown {
            key: key(),
            value: String::new(),
        };
        let invalid = || SigState::Invalid("why".to_owned());
        let weak = || SigState::Unusable("weak".to_owned());
        for (row, (signature, changed, policy, verdict)) in [
            (SigState::Absent, false, &plain, "sign"),
            (valid(), false, &plain, "keep"),
            (unknown(), false, &plain, "unknown"),
            (unknown(), false, &keep_unknown, "unverified"),
            (invalid(), false, &plain, "invalid"),
            (invalid(), false, &keep_unknown, "invalid"),
            (invalid(), false, &replace, "sign"),
            (invalid(), false, &other, "invalid"),
            (invalid(), false, &resign, "invalid"),
            (weak(), false, &replace, "refused"),
            (
                SigState::Blocked("x.sig".to_owned()),
                false,
                &replace,
                "refused",
            ),
            (SigState::Absent, true, &plain, "changed"),
            (valid(), true, &plain, "changed"),
            (invalid(), true, &plain, "changed"),
            (unknown(), true, &plain, "changed"),
            (invalid(), true, &replace, "sign"),
            (invalid(), true, &by_name, "sign"),
            (invalid(), true, &other, "changed"),
            (valid(), true, &replace, "keep"),
            (unknown(), true, &replace, "unknown"),
            (valid(), false, &resign, "sign"),
            (SigState::Absent, false, &resign, "sign"),
            (unknown(), false, &resign, "unknown"),
            (SigState::Absent, false, &off, "unsigned"),
            (valid(), false, &off, "keep"),
            (invalid(), true, &off, "invalid"),
            (SigState::Absent, false, &required, "refused"),
            (valid(), false, &required, "keep"),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(said(signature, changed, policy), verdict, "row {row}");
        }
    }

    #[test]
    fn a_mismatch_is_refused_unless_allowed() {
        let evidence = || Evidence {
            path: "noarch/a-1-0.conda",
            sha256: &[7; 32],
            changed: false,
            mismatch: Some("why"),
            signature: SigState::Absent,
            attestations: None,
        };
        assert!(matches!(
            judge(evidence(), &Policy::default()),
            Verdict::Refuse(Refusal::Mismatch(_))
        ));
        let allow = Policy {
            allow_mismatch: true,
            ..Policy::default()
        };
        assert_eq!(judge(evidence(), &allow), Verdict::Sign);
    }

    #[test]
    fn attestations_that_do_not_hold_refuse_what_nothing_else_does() {
        let verdict = |signature, mismatch| {
            let evidence = Evidence {
                path: "noarch/a-1-0.conda",
                sha256: &[7; 32],
                changed: false,
                mismatch,
                signature,
                attestations: Some("why"),
            };
            judge(evidence, &Policy::default())
        };
        let refused = Verdict::Refuse(Refusal::Attestations("why".to_owned()));
        assert_eq!(verdict(valid(), None), refused);
        assert_eq!(verdict(SigState::Absent, None), refused);
        assert!(matches!(
            verdict(valid(), Some("other")),
            Verdict::Refuse(Refusal::Mismatch(_))
        ));
    }

    #[test]
    fn a_list_is_what_sha256sum_writes() {
        let digest = "07".repeat(32);
        for line in [
            format!("{digest}  a-1-0.conda"),
            format!("{digest} *noarch/a-1-0.conda\n\n"),
            format!("{}  ./noarch/a-1-0.conda\r\n", digest.to_uppercase()),
            format!("{digest}  /srv/my channel/noarch/a-1-0.conda"),
        ] {
            let policy = Policy {
                signing: Signing::Listed(SignList::parse("f", &line).unwrap()),
                ..Policy::default()
            };
            assert_eq!(said(SigState::Absent, false, &policy), "sign", "{line}");
        }
        for (line, verdict) in [
            (format!("{digest}  b-1-0.conda"), "refused"),
            (format!("{}  a-1-0.conda", "08".repeat(32)), "refused"),
        ] {
            let policy = Policy {
                signing: Signing::Listed(SignList::parse("f", &line).unwrap()),
                ..Policy::default()
            };
            assert_eq!(said(SigState::Absent, false, &policy), verdict);
            assert_eq!(said(valid(), false, &policy), "keep");
        }
        let twice = format!("{digest}  a\n{}  a", "08".repeat(32));
        for wrong in [
            "x",
            "a-1-0.conda",
            &digest,
            &format!("{}  a", &digest[..62]),
            &format!("{}zz  a", &digest[..62]),
            &twice,
        ] {
            assert!(SignList::parse("f", wrong).is_err(), "{wrong}");
        }
    }
}
