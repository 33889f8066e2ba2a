//! A draft: a root on its way between machines, to gather signatures. Owns the file's form. It carries the root before
//! it, so that whoever signs sees what changes.

use serde_json::{Value, json};

use super::trouble;
use crate::error::Error;
use crate::signature::Signer;
use crate::tuf::{Role, Root, TufError};

/// The most bytes that a draft may have.
pub const MAX_DRAFT: u64 = 4 << 20;

/// The version of the file's form.
const FORM: u64 = 1;

/// A root that may lack signatures.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The root that it follows; none for the first.
    pub before: Option<Root>,
    /// The root.
    pub root: Root,
}

impl Draft {
    /// Reads a draft; `place` is what errors call it.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str, place: &str) -> Result<Draft, Error> {
        let none = |why: &str| {
            let why = format!(
                "it is no draft of a root: {why}; `sigindex trust init` and `trust root` write one with --write-draft"
            );
            trouble(place, why)
        };
        let value: Value = serde_json::from_str(text).map_err(|cause| none(&cause.to_string()))?;
        if value.get("sigindex_draft").and_then(Value::as_u64) != Some(FORM) {
            return Err(none("it has no \"sigindex_draft\": 1"));
        }
        let root = |part: &str| match value.get(part) {
            None | Some(Value::Null) => Ok(None),
            Some(root) => match Root::parse(root.to_string().into_bytes()) {
                Ok(root) => Ok(Some(root)),
                Err(TufError::Malformed { why, .. }) => Err(none(&format!("\"{part}\": {why}"))),
                Err(other) => Err(other.into()),
            },
        };
        let (before, root) = (root("before")?, root("root")?);
        let root = root.ok_or_else(|| none("it has no \"root\""))?;
        let follows = match &before {
            Some(before) => {
                before.meets_itself() && before.version().checked_add(1) == Some(root.version())
            }
            None => root.version() == 1,
        };
        if !follows {
            return Err(none("its root does not follow the one before it"));
        }
        Ok(Draft { before, root })
    }

    /// The file.
    ///
    /// # Errors
    /// Never, as roots are JSON.
    pub fn print(&self) -> Result<String, Error> {
        let value = |root: &Root| serde_json::from_slice::<Value>(root.bytes());
        let before = self.before.as_ref().map(value).transpose();
        let parts = before.and_then(|before| Ok((before, value(&self.root)?)));
        let (before, root) = parts.map_err(|cause| trouble("the draft", cause.to_string()))?;
        let draft = json!({ "sigindex_draft": FORM, "before": before, "root": root });
        Ok(format!("{draft:#}\n"))
    }

    /// The same with a signature by one more key.
    ///
    /// # Errors
    /// [`TufError::WrongKey`] where neither root names the key, or when it can't sign.
    pub fn sign(&self, signer: &dyn Signer) -> Result<Draft, Error> {
        let key = signer.public_key();
        let roots = self.before.iter().chain([&self.root]);
        let mut keys = roots.flat_map(|root| root.keys(Role::Root));
        if !keys.any(|known| known.fingerprint == key.fingerprint()) {
            return Err(TufError::WrongKey {
                name: key.name().clone(),
                fingerprint: key.fingerprint(),
                role: Role::Root,
                version: self.root.version(),
            }
            .into());
        }
        Ok(Draft {
            before: self.before.clone(),
            root: self.root.add_signature(signer)?,
        })
    }

    /// Takes over the signatures of another copy.
    ///
    /// # Errors
    /// When that is a draft of something else.
    pub fn merge(&self, other: &Draft, place: &str) -> Result<Draft, Error> {
        let merged = self.root.merge(&other.root);
        let root = merged.map_err(|cause| trouble(place, cause.to_string()))?;
        let before = self.before.clone();
        Ok(Draft { before, root })
    }

    /// How many signatures are missing: by keys of the root before, and by keys of its own.
    pub fn missing(&self) -> (u64, u64) {
        let before = self.before.as_ref();
        let before = before.map_or(0, |before| self.root.missing(before));
        (before, self.root.missing(&self.root))
    }

    /// Whether it may be published, without signatures that no client asks for.
    ///
    /// # Errors
    /// In words, what is missing.
    pub fn finished(&self) -> Result<Root, String> {
        let root = self.root.cleaned(self.before.as_ref());
        let root = root.map_err(|cause| cause.to_string())?;
        let (by_old, by_new) = self.missing();
        let good = match &self.before {
            Some(before) => root.follows(before),
            None => root.meets_itself(),
        };
        match (by_old, by_new) {
            (0, 0) if good => Ok(root),
            (0, 0) => Err("its signatures do not hold together".to_owned()),
            (0, new) => Err(format!("{} of its own root keys missing", signatures(new))),
            (old, 0) => Err(format!(
                "{} of the root keys before it missing",
                signatures(old)
            )),
            (old, new) => Err(format!(
                "{} of the root keys before it and {} of its own root keys missing",
                signatures(old),
                signatures(new)
            )),
        }
    }
}

fn signatures(number: u64) -> String {
    match number {
        1 => "1 signature".to_owned(),
        _ => format!("{number} signatures"),
    }
}
