//! What the environment says of stores: endpoints, regions, credentials. Owns that none of it is shown.

use std::fmt;

/// Variables of the environment, by name.
#[derive(Clone)]
pub struct Variables(Vec<(String, String)>);

impl Default for Variables {
    /// Those of this process; what is not UTF-8 is no setting.
    fn default() -> Self {
        let all = std::env::vars_os();
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Variables(all.filter_map(text).collect())
    }
}

impl FromIterator<(String, String)> for Variables {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(all: I) -> Self {
        Variables(all.into_iter().collect())
    }
}

impl fmt::Debug for Variables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Variables({})", self.0.len())
    }
}

impl Variables {
    /// The value of a variable that is set to one.
    pub fn get(&self, name: &str) -> Option<String> {
        let mut all = self.0.iter();
        let found = all.find(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| value.clone())
    }

    /// Those whose names begin so, with their whole names in lower case.
    pub fn beginning<'v>(&'v self, prefix: &'v str) -> impl Iterator<Item = (String, &'v str)> {
        let all = self.0.iter();
        let wanted = all.filter(move |(name, value)| name.starts_with(prefix) && !value.is_empty());
        wanted.map(|(name, value)| (name.to_ascii_lowercase(), value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_not_shown() {
        let all = [("AWS_SECRET", "hidden"), ("AWS_EMPTY", ""), ("HOME", "/")];
        let all = all.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let all: Variables = all.into_iter().collect();
        assert!(!format!("{all:?}").contains("hidden"));
        assert_eq!(all.get("AWS_SECRET").as_deref(), Some("hidden"));
        assert_eq!(all.get("AWS_EMPTY"), None);
        assert_eq!(all.beginning("AWS_").count(), 1);
    }
}
