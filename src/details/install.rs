//! What installing a package does. Owns the rule by which a path in a package tells it; must not know
//! `paths.json`, nor the index files that say it.

use super::Install;

type Flag = fn(&mut Install) -> &mut bool;

/// Each flag, under its key in `channeldata.json` (CEP 38).
const FLAGS: [(&str, Flag); 7] = [
    ("activate.d", |it| &mut it.activate),
    ("binary_prefix", |it| &mut it.binary_prefix),
    ("deactivate.d", |it| &mut it.deactivate),
    ("post_link", |it| &mut it.post_link),
    ("pre_link", |it| &mut it.pre_link),
    ("pre_unlink", |it| &mut it.pre_unlink),
    ("text_prefix", |it| &mut it.text_prefix),
];

impl Install {
    /// Heeds one path of the package. `prefix_placeholder` says that the prefix in the file is replaced, and
    /// `binary` that it is replaced as in a binary file, not as in a text (`file_mode` in `paths.json`).
    ///
    /// The rule is that of conda-index: whatever begins with `etc/conda/activate.d` activates, and a link script
    /// is a hidden file, or stands below a hidden folder, with the script's kind in its name.
    pub fn see(&mut self, path: &str, prefix_placeholder: bool, binary: bool) {
        self.binary_prefix |= prefix_placeholder && binary;
        self.text_prefix |= prefix_placeholder && !binary;
        self.activate |= path.starts_with("etc/conda/activate.d");
        self.deactivate |= path.starts_with("etc/conda/deactivate.d");
        // As the pattern `*/.*-pre-link.*`, whose stars also stand for slashes.
        let Some((_, hidden)) = path.split_once("/.") else {
            return;
        };
        self.pre_link |= hidden.contains("-pre-link.");
        self.post_link |= hidden.contains("-post-link.");
        self.pre_unlink |= hidden.contains("-pre-unlink.");
    }

    /// Adds what another package of the same name does.
    pub fn merge(&mut self, other: Install) {
        let mut other = other;
        for (_, flag) in FLAGS {
            *flag(self) |= *flag(&mut other);
        }
    }

    /// Each flag under its key in `channeldata.json` (CEP 38), sorted by key.
    pub fn by_key(mut self) -> [(&'static str, bool); 7] {
        FLAGS.map(|(key, flag)| (key, *flag(&mut self)))
    }

    /// Sets the flag of that key; `None` where there is none.
    pub(super) fn set(&mut self, key: &str) -> Option<()> {
        let (_, flag) = FLAGS.into_iter().find(|(it, _)| *it == key)?;
        *flag(self) = true;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(path: &str, prefix_placeholder: bool, binary: bool) -> Vec<&'static str> {
        let mut install = Install::default();
        install.see(path, prefix_placeholder, binary);
        let flags = install.by_key().into_iter().filter(|(_, does)| *does);
        flags.map(|(key, _)| key).collect()
    }

    #[test]
    fn paths_tell_what_installing_does() {
        for (path, flags) in [
            ("bin/x", &[][..]),
            ("etc/conda/activate.d/x.sh", &["activate.d"]),
            ("etc/conda/activate.d", &["activate.d"]),
            ("etc/conda/activate.d.old/x", &["activate.d"]),
            ("etc/conda/deactivate.d/x.bat", &["deactivate.d"]),
            ("lib/etc/conda/activate.d/x.sh", &[]),
            ("etc/conda/Activate.d/x.sh", &[]),
            ("bin/.x-pre-link.sh", &["pre_link"]),
            ("bin/.x-post-link.sh", &["post_link"]),
            ("Scripts/.x-pre-unlink.bat", &["pre_unlink"]),
            ("/.-post-link.", &["post_link"]),
            (".x-post-link.sh", &[]),
            ("bin/x-post-link.sh", &[]),
            ("bin/.x-post-link", &[]),
            ("bin/.x-post-linked.sh", &[]),
            ("bin/.X-POST-LINK.sh", &[]),
            ("a/.b/c-post-link.sh", &["post_link"]),
            ("a/.b/c/.d-pre-link.x/e", &["pre_link"]),
            ("a/.x-pre-link.-post-link.sh", &["post_link", "pre_link"]),
            ("a\n/.x\n-pre-link.sh", &["pre_link"]),
            ("", &[]),
        ] {
            assert_eq!(seen(path, false, false), flags, "{path}");
            assert_eq!(seen(path, false, true), flags, "{path}");
        }
        assert_eq!(seen("bin/x", true, true), ["binary_prefix"]);
        assert_eq!(seen("bin/x", true, false), ["text_prefix"]);
    }

    #[test]
    fn packages_of_a_name_add_up() {
        let mut all = Install::default();
        for (path, binary) in [("bin/.x-pre-link.sh", true), ("x", false)] {
            let mut one = Install::default();
            one.see(path, true, binary);
            all.merge(one);
        }
        let flags = all.by_key().into_iter().filter(|(_, does)| *does);
        let flags: Vec<_> = flags.map(|(key, _)| key).collect();
        assert_eq!(flags, ["binary_prefix", "pre_link", "text_prefix"]);
        assert!(all.by_key().is_sorted());
    }
}
