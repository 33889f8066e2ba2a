//! Packages ready to be copied, their signatures by two keys, and two key pairs that take others' names; made once.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::reader::digest;
use crate::scene::Scene;
use crate::scene::builder::{Format, PackageSpec};

/// The subdirs of the channel.
pub const SUBDIRS: [&str; 2] = ["linux-64", "noarch"];
/// Name, version, subdir by number, and whether it is a `.conda`. Two versions of a name, two formats of a package.
pub const PACKAGES: [(&str, &str, usize, bool); 6] = [
    ("a", "1.0", 0, true),
    ("a", "2.0", 0, true),
    ("a", "2.0", 0, false),
    ("b", "1.0", 0, false),
    ("a", "1.0", 1, false),
    ("c", "1.0", 1, true),
];
/// Contents that each can have.
pub const CONTENTS: usize = 3;

/// An archive, its signature by `fixture`, and that by `other`.
pub type Content = (Vec<u8>, [Vec<u8>; 2]);

/// All of them.
pub struct Goods {
    /// `SUBDIR/FILE`, in the order of [`PACKAGES`].
    pub paths: Vec<String>,
    /// By package and number.
    pub contents: Vec<Vec<Content>>,
    /// The package that each content is one of, by SHA-256.
    pub whole: BTreeMap<String, String>,
    /// Private and public half of two further pairs.
    pub pairs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The goods.
pub fn goods() -> &'static Goods {
    static GOODS: OnceLock<Goods> = OnceLock::new();
    GOODS.get_or_init(|| {
        let scene = Scene::new();
        scene.give_key("other");
        let (mut paths, mut contents, mut whole) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (name, version, subdir, conda) in PACKAGES {
            let format = if conda { Format::Conda } else { Format::TarBz2 };
            let spec = PackageSpec::new(name, version, "0").subdir(SUBDIRS[subdir]);
            let spec = if conda {
                spec.depends(["b", "c"])
            } else {
                spec
            };
            let path = spec.path_in_channel(format);
            let mut of_package = Vec::new();
            for content in 0..CONTENTS {
                // Of one size, since they do not compress.
                let spec = spec.clone().payload_size(200, content as u64);
                let bytes = spec.bytes(format);
                let sigs = ["fixture", "other"].map(|key| sign(&scene, key, &bytes));
                whole.insert(digest(&bytes), path.clone());
                of_package.push((bytes, sigs));
            }
            paths.push(path);
            contents.push(of_package);
        }
        let pairs = ["third", "fourth"].map(|name| {
            scene.run(&["keygen", name]).exits(0);
            let half = |file: &str| std::fs::read(scene.key_path(file)).unwrap();
            (half(name), half(&format!("{name}.pub")))
        });
        Goods {
            paths,
            contents,
            whole,
            pairs: pairs.into(),
        }
    })
}

fn sign(scene: &Scene, key: &str, bytes: &[u8]) -> Vec<u8> {
    scene.write("package", bytes);
    scene
        .run(&["sign", "package", "--key", key, "--force"])
        .exits(0);
    let sig = scene.read("package.sig");
    scene.remove("package.sig");
    sig
}
