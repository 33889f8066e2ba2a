//! What holds for any channel: the order in which packages are found changes no byte of any index file, and what is
//! written once more is the same.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use proptest::prelude::*;
use sigindex::channel::SubdirName;
use sigindex::details::{Details, Install};
use sigindex::json::{Json, Object};
use sigindex::package::Format;
use sigindex::repodata::{
    Document, Formats, Listed, Pins, current, gather, page, rss, run_exports, shards,
};

/// A package of few names and versions, so that they meet.
fn package() -> impl Strategy<Value = Listed> {
    let depends = prop::collection::vec(
        prop_oneof![
            Just("a >=1".to_owned()),
            Just("b 2.*".to_owned()),
            Just("c".to_owned()),
            Just("a[when=\"b\"]".to_owned()),
            ".{0,12}",
        ],
        0..3,
    );
    let key = ("[abc]", "[12](\\.[0-9]|rc1|_)?", "[xy]", any::<bool>());
    let more = (0..3_i64, any::<bool>(), ".{0,20}");
    (key, depends, more).prop_map(|(key, depends, (time, feature, summary))| {
        let (name, version, build, conda) = key;
        let text = |text: &str| Json::String(text.to_owned());
        let format = if conda { Format::Conda } else { Format::TarBz2 };
        let mut record = Object::from([
            ("name".to_owned(), text(&name)),
            ("version".to_owned(), text(&version)),
            ("build".to_owned(), text(&build)),
            (
                "depends".to_owned(),
                Json::Array(depends.iter().map(|it| text(it)).collect()),
            ),
            ("timestamp".to_owned(), Json::Number(time.to_string())),
            (
                "indexed_timestamp".to_owned(),
                Json::Number((time * 7).to_string()),
            ),
            ("md5".to_owned(), text(&"0f".repeat(16))),
        ]);
        if feature {
            record.insert("track_features".to_owned(), text("f"));
        }
        let about = Object::from([("summary".to_owned(), text(&summary))]);
        Listed {
            name: format!("{name}-{version}-{build}{}", format.extension()),
            format,
            record: Json::Object(record).compact(),
            details: Details::new(&Object::new(), &about, Install::default()),
        }
    })
}

/// Packages of distinct file names.
fn packages() -> impl Strategy<Value = Vec<Listed>> {
    prop::collection::vec(package(), 0..14).prop_map(|all| {
        let by_name: BTreeMap<String, Listed> =
            all.into_iter().map(|one| (one.name.clone(), one)).collect();
        by_name.into_values().collect()
    })
}

fn document(subdir: &SubdirName, listed: Vec<Listed>) -> Document<'_> {
    Document {
        subdir,
        listed,
        removed: Vec::new(),
        signing_keys: BTreeMap::new(),
        signatures: Object::new(),
    }
}

/// Every index file of a channel of these two subdirs.
fn files(here: &Document<'_>, noarch: &Document<'_>, formats: &Formats) -> Vec<Vec<u8>> {
    let all = [here, noarch];
    let contents: Vec<_> = all.iter().map(|one| page::Content::of(one)).collect();
    let state = page::state(&contents);
    let mut files = vec![page::channel_page(&contents, &state, formats)];
    for (document, content) in all.iter().zip(&contents) {
        files.push(document.render(formats));
        files.push(run_exports::render(document, &[], formats));
        files.push(page::subdir_page(content, &state, formats));
        let mut digests = BTreeMap::new();
        for (name, group) in shards::by_name(document) {
            let shard = shards::shard(document.subdir, &group, formats).unwrap();
            digests.insert(name, shard.digest);
            files.push(shard.bytes);
        }
        files.push(shards::index(document, formats, &digests, None, 0).unwrap());
    }
    let kept = current(&all, &Pins::default(), &AtomicBool::new(false)).unwrap();
    for (document, listed) in all.into_iter().zip(kept.listed) {
        let document = Document {
            listed,
            ..document.clone()
        };
        files.push(document.render(formats));
    }
    let data = gather(&all);
    files.push(data.render(formats));
    files.push(rss::render(&data, formats).unwrap());
    files
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_order_of_packages_gives_the_same_bytes(
        (here, shuffled) in packages().prop_flat_map(|all| (Just(all.clone()), Just(all).prop_shuffle())),
        noarch in packages(),
        next in any::<bool>(),
        html_dependencies in any::<bool>(),
        compact in any::<bool>(),
    ) {
        let (linux, any) = (SubdirName::standard("linux-64").unwrap(), SubdirName::noarch());
        let formats = Formats { next, html_dependencies, compact, ..Formats::default() };
        let mut turned = noarch.clone();
        turned.reverse();
        let one = files(&document(&linux, here), &document(&any, noarch), &formats);
        let other = files(&document(&linux, shuffled), &document(&any, turned), &formats);
        prop_assert_eq!(one, other);
    }
}
