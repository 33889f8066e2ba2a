//! Packages ready to be copied: a few names, each with some contents, and the signature of every content.

use std::path::Path;
use std::sync::OnceLock;

use crate::scene::Scene;
use crate::scene::builder::{Format, PackageSpec};

/// The subdirs of a raced channel.
pub const SUBDIRS: [&str; 2] = ["linux-64", "noarch"];
/// Contents of each package, of one size in bytes where the format lets them.
pub const CONTENTS: usize = 3;

/// A package and what may stand under its name.
pub struct Package {
    /// `SUBDIR/FILE`.
    pub path: String,
    /// What may stand there.
    pub contents: Vec<Content>,
}

/// Bytes of a package and their signature.
pub struct Content {
    /// The archive.
    pub bytes: Vec<u8>,
    /// The `.sig` of it, by the key `fixture`.
    pub sig: Vec<u8>,
}

/// All packages; made once.
pub fn library() -> &'static [Package] {
    static LIBRARY: OnceLock<Vec<Package>> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let scene = Scene::new();
        let mut packages = Vec::new();
        for (number, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
            for (subdir, format) in SUBDIRS.into_iter().zip(Format::BOTH) {
                let version = if number == 3 { "2.0" } else { "1.0" };
                let spec = PackageSpec::new(name, version, "0").subdir(subdir);
                packages.push(package(&scene, &spec, format));
            }
        }
        packages
    })
}

fn package(scene: &Scene, spec: &PackageSpec, format: Format) -> Package {
    let path = spec.path_in_channel(format);
    let contents = (0..CONTENTS).map(|number| {
        let payload = format!("content {number} of {path}\n");
        let bytes = spec.clone().payload(payload).bytes(format);
        let file = format!("{number}/{path}");
        scene.write(&file, &bytes);
        scene.run(&["sign", &file]).exits(0);
        let sig = scene.read(&format!("{file}.sig"));
        Content { bytes, sig }
    });
    let contents = contents.collect();
    Package { path, contents }
}

/// The package that lies at a path of a channel.
pub fn package_at(path: &str) -> &'static Package {
    let mut all = library().iter();
    all.find(|package| package.path == path).unwrap()
}

/// Paths of all packages that lie in a channel.
pub fn lying_in(channel: &Path) -> Vec<String> {
    let all = library().iter().map(|package| package.path.clone());
    all.filter(|path| channel.join(path).exists()).collect()
}
