//! The files in which people keep what they need for S3: `~/.aws/credentials` and `~/.aws/config`. Owns their form, as
//! far as it gives keys, a region and an endpoint; must not show what stands in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::settings::Form;
use crate::shown::shown;
use crate::storage::{OwnPath, Unread, read_own_text};

/// The largest file that is read, in bytes.
const MAX_PROFILES: u64 = 1 << 20;

/// What a profile gives.
#[derive(Default, Clone, PartialEq, Eq)]
pub struct Profile {
    values: BTreeMap<String, Value>,
}

/// A value, and the file that gives it.
#[derive(Clone, PartialEq, Eq)]
struct Value {
    text: String,
    file: String,
}

/// Why there is none to be had.
#[derive(Debug, PartialEq, Eq)]
pub struct ProfileFault {
    /// In words, with the file.
    pub cause: String,
    /// What to do.
    pub remedy: &'static str,
}

/// What to do about a profile that does not serve.
pub const PROFILE_REMEDY: &str =
    "mend it, name another with AWS_PROFILE, or give the credentials in the environment";

/// A file of profiles: the variable that names one, where it is else, and what to do about one that can't be read.
struct Kept {
    variable: &'static str,
    default: &'static str,
    remedy: &'static str,
}

const CONFIG: Kept = Kept {
    variable: "AWS_CONFIG_FILE",
    default: "config",
    remedy: "mend it, or name another file with AWS_CONFIG_FILE (/dev/null for none)",
};

const CREDENTIALS: Kept = Kept {
    variable: "AWS_SHARED_CREDENTIALS_FILE",
    default: "credentials",
    remedy: "mend it, or name another file with AWS_SHARED_CREDENTIALS_FILE (/dev/null for none)",
};

impl Kept {
    /// Its text and its path, if there is one. One that this user may not read is none where nobody asked for it: neither the file
    /// was named, nor a profile (`is_asked`).
    fn read(
        &self,
        home: Option<&Path>,
        named: Option<String>,
        is_asked: bool,
    ) -> Result<Option<(String, String)>, ProfileFault> {
        let default = || Some(OwnPath::Default(home?.join(".aws").join(self.default)));
        let place = named.map(|path| OwnPath::Named(PathBuf::from(path)));
        let Some(place) = place.or_else(default) else {
            return Ok(None);
        };
        let is_asked = is_asked || matches!(place, OwnPath::Named(_));
        match read_own_text(&place, MAX_PROFILES) {
            Err(why) if passes_over(&why, is_asked) => Ok(None),
            Err(why) => Err(ProfileFault {
                cause: format!("{} can't be read: {why}", shown(place.path())),
                remedy: self.remedy,
            }),
            Ok(read) => Ok(read.map(|text| (text, shown(place.path())))),
        }
    }
}

fn passes_over(why: &Unread, is_asked: bool) -> bool {
    !is_asked && why.is_denied()
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
    /// When it is named and not there, or a file that is there can't be read. A file in `~/.aws` that this user may not
    /// read is none, unless a profile is named.
    pub fn of(variable: impl Fn(&str) -> Option<String>) -> Result<Profile, ProfileFault> {
        let home = variable("HOME").map(PathBuf::from);
        let named = variable("AWS_PROFILE").or_else(|| variable("AWS_DEFAULT_PROFILE"));
        let name = named.clone().unwrap_or_else(|| "default".to_owned());
        let text = |kept: &Kept| {
            let file = variable(kept.variable);
            kept.read(home.as_deref(), file, named.is_some())
        };
        let (config, credentials) = (text(&CONFIG)?, text(&CREDENTIALS)?);
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
            let Some((text, file)) = text else { continue };
            if let Some(values) = section_of(text, section) {
                let values = values.into_iter().map(|(name, text)| {
                    let file = file.clone();
                    (name, Value { text, file })
                });
                found.get_or_insert_with(BTreeMap::new).extend(values);
            }
        }
        let profile = Profile {
            values: found.clone().unwrap_or_default(),
        };
        if let (Some(name), None) = (named, found) {
            return Err(ProfileFault {
                cause: format!(
                    "there is no profile {name} in ~/.aws/config or ~/.aws/credentials; AWS_PROFILE names it"
                ),
                remedy: PROFILE_REMEDY,
            });
        }
        Ok(profile)
    }

    /// A value that requests are made of, by its name in the file.
    ///
    /// # Errors
    /// When none can be made of it.
    pub fn usable(&self, name: &str, form: Form) -> Result<Option<&str>, ProfileFault> {
        let Some(Value { text, file }) = self.values.get(name).filter(|v| !v.text.is_empty())
        else {
            return Ok(None);
        };
        match form.fault(text) {
            None => Ok(Some(text)),
            Some(why) => Err(ProfileFault {
                cause: format!("in {file}, {name} {why}"),
                remedy: PROFILE_REMEDY,
            }),
        }
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

    impl Profile {
        fn get(&self, name: &str) -> Option<&str> {
            self.values.get(name).map(|value| value.text.as_str())
        }
    }

    #[test]
    fn a_value_that_is_no_use_is_told_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        std::fs::write(&path, "[default]\naws_access_key_id = hidden\u{1}\nx = y\n").unwrap();
        let file = path.to_str().unwrap().to_owned();
        let only = |asked: &str| (asked == "AWS_SHARED_CREDENTIALS_FILE").then(|| file.clone());
        let profile = Profile::of(only).unwrap();
        let fault = profile.usable("aws_access_key_id", Form::Word).unwrap_err();
        for word in [file.as_str(), "aws_access_key_id", "control character"] {
            assert!(fault.cause.contains(word), "{fault:?}");
        }
        assert!(!fault.cause.contains("hidden"), "{fault:?}");
        assert_eq!(profile.usable("x", Form::Word).unwrap(), Some("y"));
        assert_eq!(profile.usable("absent", Form::Word).unwrap(), None);
    }

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
                let Err(fault) = Profile::of(only) else {
                    panic!("{file} is passed over")
                };
                let said = format!("{}; {}", fault.cause, fault.remedy);
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

    #[test]
    fn what_lies_in_the_home_unasked_is_never_waited_for() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        let path = home.path().join(".aws/config");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
        let of = |name: &'static str, value: &Path| {
            let value = value.to_str().unwrap().to_owned();
            Profile::of(move |asked| (asked == name).then(|| value.clone()))
        };
        let Err(fault) = of("HOME", home.path()) else {
            panic!("it is passed over")
        };
        assert!(fault.cause.contains("no regular file"), "{fault:?}");
        assert!(fault.remedy.contains("AWS_CONFIG_FILE"), "{fault:?}");
        let to = path.clone();
        let writer = std::thread::spawn(move || std::fs::write(to, "[default]\nregion = r\n"));
        let named = of("AWS_CONFIG_FILE", &path).map_err(|fault| fault.cause);
        assert_eq!(named.unwrap().get("region"), Some("r"));
        writer.join().unwrap().unwrap();
    }

    #[test]
    fn what_may_not_be_read_is_none_where_nobody_asked_for_it() {
        let denied = Unread::Io(rustix::io::Errno::ACCESS.into());
        assert!(passes_over(&denied, false) && !passes_over(&denied, true));
        assert!(!passes_over(&Unread::NoFile, false));
    }
}
