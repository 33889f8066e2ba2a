//! Details: what a package says of itself beyond its record, for the index files that say more than
//! `repodata.json`. Owns what is taken from `info/run_exports.json`, `info/about.json` and the recipe, and how
//! a cache keeps it; knows nothing of archives or of the files that it goes into.

mod install;
mod read;
mod recipe;
mod yaml;

use std::sync::Arc;

pub use read::{DetailsError, Sources};

use crate::json::{self, Json, Object};

/// What a package says of itself beyond its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Details {
    run_exports: Arc<str>,
    about: Arc<str>,
    /// What installing it does.
    pub install: Install,
}

/// What installing a package does, by its `info/paths.json` (CEP 38).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Install {
    /// Replaces the prefix in a binary file.
    pub binary_prefix: bool,
    /// Replaces the prefix in a text file.
    pub text_prefix: bool,
    /// Brings a script to `etc/conda/activate.d`.
    pub activate: bool,
    /// Brings a script to `etc/conda/deactivate.d`.
    pub deactivate: bool,
    /// Runs a script before it is linked.
    pub pre_link: bool,
    /// Runs a script after it is linked.
    pub post_link: bool,
    /// Runs a script before it is unlinked.
    pub pre_unlink: bool,
}

impl Default for Details {
    fn default() -> Self {
        Details::new(&Object::new(), &Object::new(), Install::default())
    }
}

impl Details {
    /// Details of these run exports and descriptions.
    pub fn new(run_exports: &Object, about: &Object, install: Install) -> Details {
        let text = |object: &Object| Json::Object(object.clone()).compact().into();
        Details {
            run_exports: text(run_exports),
            about: text(about),
            install,
        }
    }

    /// Details as they are told of all packages of a name together, in `channeldata.json`: what is left of a package
    /// whose file is gone.
    pub fn recovered(run_exports: &Object, told: &Object) -> Details {
        let mut install = Install::default();
        for (key, value) in told {
            if *value == Json::Bool(true) {
                let _ = install.set(key);
            }
        }
        let about = told.iter().filter(|(key, _)| read::is_about(key));
        let about = about.map(|(key, value)| (key.clone(), value.clone()));
        Details::new(run_exports, &about.collect(), install)
    }

    /// `run_exports` (CEP 12), as compact JSON: `{}` where there are none.
    pub fn run_exports(&self) -> &str {
        &self.run_exports
    }

    /// [`Details::about`] as compact JSON, for those who take little of it.
    pub fn about_text(&self) -> &str {
        &self.about
    }

    /// What the package says of its project, under the keys of `channeldata.json` (CEP 38).
    pub fn about(&self) -> Object {
        match json::parse(self.about.as_bytes()) {
            Ok(Json::Object(about)) => about,
            _ => Object::new(),
        }
    }

    /// The same with other run exports, as patches give them (CEP 21).
    pub fn with_run_exports(&self, run_exports: &Object) -> Details {
        Details {
            run_exports: Json::Object(run_exports.clone()).compact().into(),
            ..self.clone()
        }
    }

    /// The form in which a cache keeps the details: three lines, none of which is parsed to take them back.
    pub fn stored(&self) -> String {
        let install = self.install.by_key().into_iter().filter(|(_, does)| *does);
        let install: Vec<&str> = install.map(|(key, _)| key).collect();
        format!(
            "{}\n{}\n{}",
            install.join(","),
            self.run_exports,
            self.about
        )
    }

    /// Takes details back from [`Details::stored`]; `None` where the text is not of that form.
    pub fn from_stored(text: &str) -> Option<Details> {
        let mut lines = text.split('\n');
        let mut install = Install::default();
        let keys = lines.next()?.split(',');
        for key in keys.filter(|key| !key.is_empty()) {
            install.set(key)?;
        }
        let mut object = || {
            let line = lines.next()?;
            let sound = line.starts_with('{') && line.ends_with('}') && line.is_ascii();
            sound.then(|| Arc::from(line))
        };
        let (run_exports, about) = (object()?, object()?);
        lines.next().is_none().then_some(Details {
            run_exports,
            about,
            install,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parsed(text: &str) -> Object {
        match json::parse(text.as_bytes()).unwrap() {
            Json::Object(object) => object,
            _ => Object::new(),
        }
    }

    #[test]
    fn details_come_back_from_the_cache() {
        let install = Install {
            text_prefix: true,
            pre_unlink: true,
            ..Install::default()
        };
        let about = parsed(r#"{"summary":"\u00fc \"x\"","tags":["a",1e3]}"#);
        for details in [
            Details::default(),
            Details::new(&parsed(r#"{"weak":["x >=1"]}"#), &about, install),
        ] {
            let stored = details.stored();
            let back = Details::from_stored(&stored).unwrap();
            assert_eq!(back, details);
            assert_eq!(back.about(), details.about());
        }
    }

    #[test]
    fn what_no_cache_of_ours_wrote_is_refused() {
        for text in [
            "",
            "{}",
            "\n{}",
            "\n{}\n[]",
            "\n{}\nnull",
            "fly\n{}\n{}",
            "\n{}\n{}\n",
            "\n{}\n{}\n{}",
            "\n{}\n{\"\u{fc}\":1}",
        ] {
            assert_eq!(Details::from_stored(text), None, "{text}");
        }
    }
}
