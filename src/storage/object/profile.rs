//! The files in which people keep what they need for S3: `~/.aws/credentials` and `~/.aws/config`. Owns their form, as
//! far as it gives keys, a region and an endpoint; must not show what stands in them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::shown::shown;
use crate::storage::read_own_text;

/// The largest file that is read, in bytes.
const MAX_PROFILES: u64 = 1 << 20;

/// What a profile gives.
#[derive(Default, Clone, PartialEq, Eq)]
pub struct Profile {
    values: BTreeMap<String, String>,
}

/// Keys of the ways to credentials that only the vendor's own tools go.
const ELSEWHERE: [&str; 5] = [
    "credential_process",
    "role_arn",
    "source_profile",
    "sso_session",
    "sso_start_url",
];

impl Profile {
    /// The profile that the environment names, `default` where it names none.
    ///
    /// # Errors
    /// When it is named and not there, or a file that is there can't be read; in words.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Profile, String> {
        let home = variable("HOME").map(PathBuf::from);
        let file = |name: &str, default: &str| {
            let path = variable(name).map(PathBuf::from);
            let path = path.or_else(|| Some(home.as_ref()?.join(".aws").join(default)));
            path.map_or(Ok(None), |path| {
                read_own_text(&path, MAX_PROFILES).map_err(|cause| {
                    let shown = shown(&path);
                    format!("{shown} can't be read: {cause} ({name} names another, or /dev/null for none)")
                })
            })
        };
        let named = variable("AWS_PROFILE").or_else(|| variable("AWS_DEFAULT_PROFILE"));
        let name = named.clone().unwrap_or_else(|| "default".to_owned());
        let config = file("AWS_CONFIG_FILE", "config")?;
        let credentials = file("AWS_SHARED_CREDENTIALS_FILE", "credentials")?;
        let in_config = match name.as_str() {
            "default" => ["default".to_owned(), "profile default".to_owned()],
            name => [format!("profile {name}"), String::new()],
        };
        let mut found = None;
        for (text, section) in in_config
            .iter()
            .map(|section| (&config, section))
            .chain([(&credentials, &name)])
        {
            let values = text.as_deref().and_then(|text| section_of(text, section));
            if let Some(values) = values {
                found.get_or_insert_with(BTreeMap::new).extend(values);
            }
        }
        let profile = Profile {
            values: found.clone().unwrap_or_default(),
        };
        if let (Some(name), None) = (named, found) {
            return Err(format!(
                "there is no profile {name} in ~/.aws/config or ~/.aws/credentials; AWS_PROFILE names it"
            ));
        }
        Ok(profile)
    }

    /// A value, by its name in the file.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// How else it gives its keys, where it has none itself.
    pub fn elsewhere(&self) -> Option<&'static str> {
        let has_keys = self.values.contains_key("aws_access_key_id");
        let mut ways = ELSEWHERE.into_iter();
        ways.find(|way| !has_keys && self.values.contains_key(*way))
    }
}

/// The values of a section; `None` where there is none of that name. A later value stands for an earlier one. What is
/// indented belongs to the value above it, and is not asked for here.
fn section_of(text: &str, wanted: &str) -> Option<BTreeMap<String, String>> {
    let mut found: Option<BTreeMap<String, String>> = None;
    let mut within = false;
    for line in text.lines() {
        if line.starts_with([' ', '\t', '#', ';']) || line.trim().is_empty() {
            continue;
        }
        if let Some(head) = line.strip_prefix('[') {
            let name = head.split(']').next().unwrap_or_default();
            let words: Vec<&str> = name.split_whitespace().collect();
            within = words.join(" ") == wanted;
            if within {
                found.get_or_insert_with(BTreeMap::new);
            }
        } else if let (true, Some(values), Some((name, value))) =
            (within, found.as_mut(), line.split_once('='))
        {
            let value = value.split(" #").next().unwrap_or_default();
            values.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_profile_is_read_from_both_files() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let put = |name: &str, text: &str| {
            std::fs::write(home.path().join(".aws").join(name), text).unwrap();
        };
        put(
            "config",
            "[default]\nregion = eu-north-1 # far\n[profile  work]\nregion=us-west-2\ns3 =\n  max = 3\nendpoint_url = http://127.0.0.1:9\n[profile role]\nrole_arn = arn\n",
        );
        put(
            "credentials",
            "# mine\n[work]\naws_access_key_id = ID\nAWS_SECRET_ACCESS_KEY = a=b\n\n[default]\naws_access_key_id = D\n",
        );
        let profile = |name: Option<&str>| {
            Profile::of(|variable| match variable {
                "HOME" => home.path().to_str().map(str::to_owned),
                "AWS_PROFILE" => name.map(str::to_owned),
                _ => None,
            })
        };
        let work = profile(Some("work")).unwrap();
        let of = |name| work.get(name).unwrap();
        assert_eq!(
            (of("region"), of("aws_secret_access_key")),
            ("us-west-2", "a=b")
        );
        assert_eq!(
            (of("endpoint_url"), of("aws_access_key_id")),
            ("http://127.0.0.1:9", "ID")
        );
        assert_eq!(work.get("max"), None);
        let default = profile(None).unwrap();
        assert_eq!(default.get("region"), Some("eu-north-1"));
        assert_eq!(default.get("aws_access_key_id"), Some("D"));
        assert_eq!(profile(Some("role")).unwrap().elsewhere(), Some("role_arn"));
        assert_eq!(work.elsewhere(), None);
        assert!(profile(Some("absent")).is_err());
        assert!(Profile::of(|_| None).unwrap() == Profile::default());
    }

    #[test]
    fn a_file_that_is_there_and_cannot_be_read_is_not_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let long = std::fs::File::create(at("long")).unwrap();
        long.set_len(MAX_PROFILES + 1).unwrap();
        std::fs::write(at("latin"), b"[default]\nregion = \xe9\n").unwrap();
        for (file, why) in [
            (at("long"), "more than 1048576 bytes"),
            (at("latin"), "UTF-8"),
            (at(""), "folder"),
            ("/dev/zero".to_owned(), "more than 1048576 bytes"),
        ] {
            for name in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"] {
                let only = |asked: &str| (asked == name).then(|| file.clone());
                let Err(said) = Profile::of(only) else {
                    panic!("{file} is passed over")
                };
                for word in [file.as_str(), why, name, "/dev/null"] {
                    assert!(said.contains(word), "{word}: {said}");
                }
            }
        }
        for none in [at("absent"), "/dev/null".to_owned()] {
            let only = |asked: &str| (asked == "AWS_CONFIG_FILE").then(|| none.clone());
            assert!(Profile::of(only).unwrap() == Profile::default());
        }
    }
}
