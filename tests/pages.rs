//! Opens pages in a real browser, headless, and reads what it made of them: that they list and find what the
//! records say, that nothing in a record runs, and that 50,000 records are no trouble. Skipped where no browser
//! is installed. It must not know how a page holds its data.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sigindex::channel::SubdirName;
use sigindex::details::{Details, Install};
use sigindex::json::{Json, Object, parse};
use sigindex::keys::{Fingerprint, KeyName};
use sigindex::package::Format;
use sigindex::repodata::page::{Content, channel_page, may_replace, state, subdir_page};
use sigindex::repodata::{Document, Formats, Listed};

#[path = "support/shared.rs"]
mod shared;

use shared::{shared, skip};

/// How long a browser may take for one page: far longer than any needs.
const LIMIT: Duration = Duration::from_secs(90);

/// What a script that should not run would set.
const PWNED: &str = "PWNED";

/// A browser that dumps what it made of a page.
struct Browser {
    program: PathBuf,
    folder: tempfile::TempDir,
}

/// What a browser made of a page.
struct Seen {
    /// The document as it stands after its script, without scripts and style.
    dom: String,
    /// What was said on the console, errors and violations of the policy among it.
    console: Vec<String>,
}

impl Browser {
    fn new() -> Option<Browser> {
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path)
            .flat_map(|folder| names.map(|name| folder.join(name)))
            .find(|program| program.is_file());
        if found.is_none() {
            skip("neither chromium nor google-chrome is installed");
        }
        Some(Browser {
            program: found?,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    /// Puts a page below the browser's folder.
    fn put(&self, path: &str, page: &[u8]) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, page).unwrap();
    }

    /// Opens a page that was put there; `address` may end with a query or fragment.
    fn open(&self, address: &str) -> Seen {
        let (dom, log) = (
            self.folder.path().join("dom"),
            self.folder.path().join("log"),
        );
        let file = |path: &Path| Stdio::from(std::fs::File::create(path).unwrap());
        let mut child = Command::new(&self.program)
            .args([
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
            ])
            .args([
                "--no-first-run",
                "--disable-extensions",
                "--enable-logging=stderr",
            ])
            .args(["--virtual-time-budget=2000", "--dump-dom"])
            .arg(format!(
                "--user-data-dir={}",
                self.folder.path().join("profile").display()
            ))
            .arg(format!("file://{}/{address}", self.folder.path().display()))
            .stdin(Stdio::null())
            .stdout(file(&dom))
            .stderr(file(&log))
            .spawn()
            .unwrap();
        let began = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if began.elapsed() > LIMIT {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("the browser took longer than {LIMIT:?} for {address}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let read = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
        let console = read(&log);
        let console = console.lines().filter(|line| line.contains("CONSOLE"));
        Seen {
            dom: without(&without(&read(&dom), "script"), "style"),
            console: console.map(str::to_owned).collect(),
        }
    }
}

/// A document without elements of this name.
fn without(html: &str, element: &str) -> String {
    let (begin, end) = (format!("<{element}"), format!("</{element}>"));
    let mut pieces = html.split(&begin);
    let mut out = pieces.next().unwrap().to_owned();
    for piece in pieces {
        out.push_str(piece.split_once(&end).map_or("", |(_, rest)| rest));
    }
    out
}

impl Seen {
    /// The text between tags, in one line.
    fn text(&self) -> String {
        let mut text = String::new();
        for piece in self.dom.split('<') {
            text.push_str(piece.split_once('>').map_or(piece, |(_, text)| text));
            text.push(' ');
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn says(&self, words: &str) -> &Self {
        let text = self.text();
        assert!(text.contains(words), "{words:?} is not in: {text}");
        self
    }

    fn has(&self, html: &str) -> &Self {
        assert!(self.dom.contains(html), "{html} is not in: {}", self.dom);
        self
    }

    fn is_quiet(&self) -> &Self {
        assert!(self.console.is_empty(), "{:?}", self.console);
        self
    }
}

/// A package as a channel lists it; its digest is that of no file.
fn listed(file: &str, mut record: Value, about: Value) -> Listed {
    let format = Format::of(file).unwrap();
    let fields = record.as_object_mut().unwrap();
    if !fields.contains_key("name") {
        let mut parts = format.stem(file).rsplitn(3, '-');
        for key in ["build", "version", "name"] {
            fields.insert(key.to_owned(), parts.next().unwrap().into());
        }
    }
    let text = |value: &Value| parse(value.to_string().as_bytes()).unwrap();
    let Json::Object(about) = text(&about) else {
        panic!("about is an object");
    };
    Listed {
        name: file.to_owned(),
        format,
        record: text(&record).compact(),
        details: Details::new(&Object::new(), &about, Install::default()),
    }
}

fn fingerprint() -> String {
    "3b9f0c1e77aa42d8".repeat(4)
}

fn document<'a>(subdir: &'a SubdirName, listed: Vec<Listed>) -> Document<'a> {
    let key = (KeyName::parse("ChannelKey").unwrap(), 4096);
    Document {
        subdir,
        listed,
        removed: Vec::new(),
        signing_keys: BTreeMap::from([(Fingerprint::parse(&fingerprint()).unwrap(), key)]),
        signatures: Object::new(),
    }
}

fn formats() -> Formats {
    Formats {
        channel_name: "sample".to_owned(),
        html_dependencies: true,
        ..Formats::default()
    }
}

/// Two names with files in every state.
fn some() -> Vec<Listed> {
    let sha256 = |digit: &str| format!("12345{digit}{}", "ab".repeat(29));
    let checked =
        json!({"key": "ChannelKey", "fingerprint": fingerprint(), "scheme": "rsa-pss-sha256"});
    let about = json!({"summary": "Counts the stars", "home": "https://example.org/alpha"});
    let alpha = |file: &str, more: Value| {
        let mut record = json!({"size": 122_456, "license": "BSD-3-Clause", "indexed_timestamp": 1_763_795_000_000_u64});
        let more = more.as_object().unwrap().clone();
        record.as_object_mut().unwrap().extend(more);
        listed(file, record, about.clone())
    };
    vec![
        alpha(
            "alpha-1.0-h1_0.conda",
            json!({"sha256": sha256("1"), "signature": checked, "depends": ["zlib >=1.2"]}),
        ),
        alpha("alpha-1.0-h1_0.tar.bz2", json!({"sha256": sha256("2")})),
        alpha(
            "alpha-2.0-h2+1_0.conda",
            json!({"sha256": sha256("3"), "revoked": true,
            "signature": {"key": "Stranger", "scheme": "rsa-pss-sha256", "verified": false}}),
        ),
        listed(
            "beta-3.1-0.conda",
            json!({"sha256": "f0".repeat(32), "license": "MIT", "signature": checked}),
            json!({}),
        ),
    ]
}

/// Puts the pages of a channel where the browser finds them.
fn put_channel(browser: &Browser, documents: &[&Document<'_>], formats: &Formats) {
    let contents: Vec<Content<'_>> = documents.iter().map(|one| Content::of(one)).collect();
    let state = state(&contents);
    for content in &contents {
        let page = subdir_page(content, &state, formats);
        browser.put(&content.subdir().path_of("index.html"), &page);
    }
    browser.put("index.html", &channel_page(&contents, &state, formats));
}

#[test]
fn a_page_shows_what_the_records_say() {
    let Some(browser) = Browser::new() else {
        return;
    };
    let noarch = SubdirName::noarch();
    put_channel(&browser, &[&document(&noarch, some())], &formats());
    let seen = browser.open("noarch/index.html#q=alpha");
    seen.is_quiet()
        .says("Found 3 packages, 1 name")
        .says("Counts the stars")
        .says("BSD-3-Clause")
        .says("122.4 kB")
        .says("2025-11-22")
        .says("checked ChannelKey")
        .says("unknown key Stranger")
        .says("unsigned")
        .says("revoked")
        .says("depends on zlib &gt;=1.2")
        .says("ChannelKey RSA 4096 bits, 2 packages")
        .has(&format!("123451{}", "ab".repeat(29)))
        .has(&fingerprint())
        .has("href=\"alpha-2.0-h2%2B1_0.conda\"")
        .has("href=\"alpha-1.0-h1_0.conda.sig\"")
        .has("href=\"https://example.org/alpha\"")
        .has("href=\"../index.html\"")
        .has("href=\"repodata.json\"");
    let text = seen.text();
    let versions: Vec<_> = ["2.0 h2+1_0", "1.0 h1_0 .conda", "1.0 h1_0 .tar.bz2"]
        .map(|row| {
            text.find(row)
                .unwrap_or_else(|| panic!("{row} is not in: {text}"))
        })
        .into();
    assert!(versions.is_sorted(), "newest first: {text}");
    assert!(!text.contains("beta"), "{text}");
    let seen = browser.open("index.html#q=beta");
    seen.is_quiet()
        .says("Found 1 package, 1 name")
        .has("href=\"noarch/index.html#q=beta\"")
        .has("href=\"noarch/repodata.json\"");
}

#[test]
fn the_search_finds_by_all_that_is_said() {
    let Some(browser) = Browser::new() else {
        return;
    };
    let noarch = SubdirName::noarch();
    put_channel(&browser, &[&document(&noarch, some())], &formats());
    for (address, found) in [
        ("?q=BETA", "Found 1 package, 1 name"),
        ("#q=2.0", "Found 1 package, 1 name"),
        ("#q=alpha-1.0-h1_0.tar.bz2", "Found 1 package, 1 name"),
        ("#q=123453abab", "Found 1 package, 1 name"),
        ("#q=sha256:f0f0f0f", "Found 1 package, 1 name"),
        ("#q=stars%201.0", "Found 2 packages, 1 name"),
        ("#state=checked", "Found 2 packages, 2 names"),
        ("#q=h1&state=unsigned", "Found 1 package, 1 name"),
        ("#q=bsd%20mit", "Nothing matches"),
    ] {
        let seen = browser.open(&format!("noarch/index.html{address}"));
        seen.is_quiet().says(found);
    }
}

/// Records in which every text tries to run, to break out, or to deceive.
fn hostile() -> Vec<Listed> {
    let run = format!("document.title='{PWNED}'");
    let texts = [
        format!("<script>{run}</script>"),
        format!("</script><script>{run}</script>"),
        format!("<!--<script>{run}</script>"),
        format!("<img src=x onerror=\"{run}\">"),
        format!("'\"><svg onload=\"{run}\">"),
        format!("{{{{data}}}} ${{{run}}} `{run}`"),
        "\u{202e}txt.exe\u{2028}\u{0}".to_owned(),
    ];
    let mut all = Vec::new();
    for (i, text) in texts.iter().enumerate() {
        let signature = json!({"key": text, "verified": false});
        let about = json!({"summary": text, "home": format!("javascript:{run}")});
        let record = json!({"name": format!("{i}{text}"), "version": text, "build": text, "license": text,
            "subdir": text, "size": 1, "signature": signature, "depends": [text], "sha256": text});
        all.push(listed(&format!("evil{i}\"'<b>&-1-0.conda"), record, about));
    }
    let empty_home = json!({"summary": "", "home": "java\nscript:alert(1)"});
    all.push(listed(
        "__proto__-1-0.conda",
        json!({"name": "__proto__", "version": "constructor"}),
        empty_home,
    ));
    all
}

#[test]
fn what_a_package_says_never_runs() {
    let Some(browser) = Browser::new() else {
        return;
    };
    let noarch = SubdirName::noarch();
    let formats = Formats {
        channel_name: format!("</title><script>document.title='{PWNED}'</script>"),
        base_url: Some(format!("javascript:document.title='{PWNED}'//")),
        ..formats()
    };
    put_channel(&browser, &[&document(&noarch, hostile())], &formats);
    for address in [
        "index.html",
        "noarch/index.html",
        "noarch/index.html#q=0%3Cscript%3E",
        "noarch/index.html#q=onerror",
    ] {
        let seen = browser.open(address);
        seen.is_quiet().says("document.title=");
        let head = seen.dom.split("</head>").next().unwrap();
        assert!(!head.contains(&format!("<title>{PWNED}")), "{head}");
        for tag in [
            "<img",
            "<svg o",
            "<b>&amp;",
            "href=\"javascript",
            "href=\"java",
            "\u{202e}",
        ] {
            assert!(!seen.dom.contains(tag), "{tag} in {}", seen.dom);
        }
    }
    // The policy holds even if something got through.
    let whole = document(&noarch, some());
    let page = subdir_page(&Content::of(&whole), &state(&[]), &formats);
    let page = String::from_utf8(page).unwrap();
    let through = format!(
        "<main><script>document.title='{PWNED}'</script><img src=x onerror=\"document.title='{PWNED}'\">"
    );
    browser.put("through.html", page.replace("<main>", &through).as_bytes());
    let seen = browser.open("through.html");
    assert!(
        !seen.dom.contains(&format!("<title>{PWNED}")),
        "{}",
        seen.dom
    );
    assert!(seen.console.len() >= 2, "{:?}", seen.console);
}

#[test]
fn fifty_thousand_records_open_and_filter() {
    let Some(browser) = Browser::new() else {
        return;
    };
    let noarch = SubdirName::noarch();
    let many = (0..50_000_u64).map(|i| {
        let (name, version) = (i / 20, i % 20);
        let digest = format!("{:016x}", i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(4);
        let record = json!({"size": i, "license": "MIT", "sha256": digest, "indexed_timestamp": 1_763_795_000_000 + i,
            "depends": ["python >=3.9"], "signature": {"key": "ChannelKey", "fingerprint": fingerprint()}});
        let about = json!({"summary": format!("The package of number {name}")});
        listed(&format!("package{name}-1.{version}-h{}_0.conda", &digest[..7]), record, about)
    });
    let document = document(&noarch, many.collect());
    let contents = [Content::of(&document)];
    let page = subdir_page(&contents[0], &state(&contents), &Formats::default());
    assert!(page.len() < 10_000_000, "{} bytes", page.len());
    browser.put("index.html", &page);
    let seen = browser.open("index.html");
    seen.is_quiet()
        .says("50,000 packages, 2,500 names")
        .has("data-ready=");
    assert!(
        seen.dom.len() < 400_000,
        "{} bytes of elements at once",
        seen.dom.len()
    );
    let seen = browser.open("index.html#q=package2499%201.7");
    seen.is_quiet()
        .says("Found 1 package, 1 name")
        .says("1 of 20 match");
}

#[test]
fn only_indexers_pages_are_replaced() {
    let noarch = SubdirName::noarch();
    let document = document(&noarch, some());
    let contents = [Content::of(&document)];
    let state = state(&contents);
    assert!(may_replace(&channel_page(&contents, &state, &formats())));
    assert!(may_replace(&subdir_page(&contents[0], &state, &formats())));
    let Some(golden) = shared("golden/conda-index-0.13") else {
        return;
    };
    let pages: Vec<PathBuf> = walkdir::WalkDir::new(golden)
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.ends_with("index.html"))
        .collect();
    assert!(pages.len() > 5);
    for page in pages {
        assert!(
            may_replace(&std::fs::read(&page).unwrap()),
            "{}",
            page.display()
        );
    }
}
