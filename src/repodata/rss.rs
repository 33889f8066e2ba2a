//! `rss.xml`: a channel's newest packages as a feed (RSS 2.0). Owns which names it tells of and how; must not
//! know where they come from, nor what time it is.

use std::cmp::Reverse;
use std::io;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};

use super::web::{segment, web_address};
use super::{ChannelData, ChannelPackage, Formats};
use crate::error::Error;
use crate::json::Json;

/// The most names that a feed tells of, as many as conda-index's does.
const MAX_ITEMS: usize = 100;

type Xml = Writer<Vec<u8>>;

/// The text of `rss.xml`: the newest names by their latest build, then by name.
///
/// It has no time of its own, so that an unchanged channel gives the same bytes: the channel's dates are those of
/// its newest item, and what has no known time has no date. Links are given only to web pages. The channel's own
/// link is the base URL where that is one, else its page `index.html`, beside the feed.
///
/// # Errors
/// When the XML can't be printed, as for want of memory.
pub fn render(data: &ChannelData, formats: &Formats) -> Result<Vec<u8>, Error> {
    let mut items: Vec<(&String, &ChannelPackage)> = data.packages.iter().collect();
    items.sort_by_key(|(name, package)| (Reverse(package.timestamp), *name));
    items.truncate(MAX_ITEMS);
    print(&items, formats).map_err(Error::Feed)
}

fn print(items: &[(&String, &ChannelPackage)], formats: &Formats) -> io::Result<Vec<u8>> {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    xml.create_element("rss")
        .with_attribute(("version", "2.0"))
        .write_inner_content(|xml| {
            xml.create_element("channel").write_inner_content(|xml| {
                head(xml, items, formats)?;
                items
                    .iter()
                    .try_for_each(|(name, package)| item(xml, name, package, formats))
            })?;
            Ok(())
        })?;
    let mut text = xml.into_inner();
    text.push(b'\n');
    Ok(text)
}

fn head(xml: &mut Xml, items: &[(&String, &ChannelPackage)], formats: &Formats) -> io::Result<()> {
    let name = match formats.channel_name.as_str() {
        "" => "this channel",
        name => name,
    };
    element(xml, "title", name)?;
    let link = formats
        .base_url
        .as_deref()
        .filter(|url| web_address(url).is_some());
    element(xml, "link", link.unwrap_or("index.html"))?;
    let count = items.len();
    let description = format!("The {count} most recently updated packages of {name}.");
    element(xml, "description", &description)?;
    let newest = items.first().and_then(|(_, package)| date(package));
    if let Some(date) = newest {
        element(xml, "pubDate", &date)?;
        element(xml, "lastBuildDate", &date)?;
    }
    Ok(())
}

fn item(xml: &mut Xml, name: &str, it: &ChannelPackage, formats: &Formats) -> io::Result<()> {
    xml.create_element("item").write_inner_content(|xml| {
        let subdirs: Vec<&str> = it.subdirs.iter().map(String::as_str).collect();
        let title = format!("{name} {} [{}]", it.version, subdirs.join(", "));
        element(xml, "title", &title)?;
        let page = web_page(it, "doc_url").or_else(|| web_page(it, "home"));
        if let Some(page) = page {
            element(xml, "link", page)?;
        }
        let description = it.text("description").or_else(|| it.text("summary"));
        element(xml, "description", description.unwrap_or("No description."))?;
        if let Some(page) = web_page(it, "dev_url") {
            element(xml, "comments", page)?;
        }
        let guid = guid(name, &it.version, &formats.channel_name);
        xml.create_element("guid")
            .with_attribute(("isPermaLink", "false"))
            .write_text_content(BytesText::new(&guid))?;
        if let Some(date) = date(it) {
            element(xml, "pubDate", &date)?;
        }
        Ok(())
    })?;
    Ok(())
}

/// An element with a text, less what XML can't say in any way.
fn element(xml: &mut Xml, name: &str, text: &str) -> io::Result<()> {
    let text: String = text.chars().filter(|c| is_xml(*c)).collect();
    xml.create_element(name)
        .write_text_content(BytesText::new(&text))?;
    Ok(())
}

/// The characters of XML 1.0 (section 2.2).
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..)
}

/// When the latest build was made, as RFC 822 writes it, with a year of four digits; `None` where it is not known.
fn date(package: &ChannelPackage) -> Option<String> {
    let time = Some(package.timestamp).filter(|time| *time > 0)?;
    let time = Timestamp::from_second(time).ok()?;
    DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&time)
        .ok()
}

/// A description that is the address of a web page, or the first of several.
fn web_page<'a>(package: &'a ChannelPackage, key: &str) -> Option<&'a str> {
    let values = match package.about.get(key)? {
        Json::Array(values) => values.as_slice(),
        value => std::slice::from_ref(value),
    };
    let mut urls = values.iter().filter_map(Json::as_str);
    urls.find(|url| web_address(url).is_some())
}

/// What readers know an item by, a package URL (ECMA-427): a new build of a version they have seen is no new item.
fn guid(name: &str, version: &str, channel: &str) -> String {
    let (name, version) = (segment(name), segment(version));
    let mut guid = format!("pkg:conda/{name}@{version}");
    if !channel.is_empty() {
        guid.push_str("?channel=");
        guid.push_str(&segment(channel));
    }
    guid
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;
    use quick_xml::Reader;

    use super::*;
    use crate::details::Install;
    use crate::json::Object;

    fn package(timestamp: i64, about: &[(&str, Json)]) -> ChannelPackage {
        let about = about.iter().map(|(k, v)| ((*k).to_owned(), v.clone()));
        ChannelPackage {
            version: "1.0".to_owned(),
            about: about.collect(),
            install: Install::default(),
            subdirs: ["win-64", "linux-64"].map(str::to_owned).into(),
            run_exports: Object::new(),
            timestamp,
        }
    }

    fn feed(packages: Vec<(&str, ChannelPackage)>, formats: &Formats) -> String {
        let packages = packages.into_iter();
        let data = ChannelData {
            subdirs: BTreeSet::new(),
            packages: packages.map(|(name, it)| (name.to_owned(), it)).collect(),
        };
        String::from_utf8(render(&data, formats).unwrap()).unwrap()
    }

    fn named(name: &str) -> Formats {
        Formats {
            channel_name: name.to_owned(),
            ..Formats::default()
        }
    }

    /// Every text below an element of that name, as a reader of XML sees it.
    fn texts(feed: &str, element: &str) -> Vec<String> {
        let mut reader = Reader::from_str(feed);
        let (mut found, mut open) = (Vec::new(), None::<String>);
        loop {
            match reader.read_event().unwrap() {
                Event::Start(start) => {
                    open = (start.name().as_ref() == element).then(String::new);
                }
                Event::Text(text) => {
                    if let Some(open) = &mut open {
                        open.push_str(&text);
                    }
                }
                Event::GeneralRef(reference) => {
                    if let Some(open) = &mut open {
                        let escaped = format!("&{};", &*reference);
                        open.push_str(&quick_xml::escape::unescape(&escaped).unwrap());
                    }
                }
                Event::End(_) => found.extend(open.take()),
                Event::Eof => return found,
                _ => {}
            }
        }
    }

    #[test]
    fn a_feed_is_rss() {
        let text = |text: &str| Json::String(text.to_owned());
        let about = [
            ("description", text("a <b>\u{0} & \"c\" ]]>")),
            ("summary", text("s")),
            (
                "doc_url",
                Json::Array(vec![text("file:///x"), text("https://doc?a&b")]),
            ),
            ("dev_url", text("http://dev")),
        ];
        let feed = feed(
            vec![
                ("x", package(1_508_520_039, &about)),
                ("y", package(0, &[])),
            ],
            &named("my <channel>"),
        );
        assert_eq!(
            feed,
            r#"<?xml version="1.0" encoding="UTF-8"?>
<rss version="2.0">
  <channel>
    <title>my &lt;channel&gt;</title>
    <link>index.html</link>
    <description>The 2 most recently updated packages of my &lt;channel&gt;.</description>
    <pubDate>Fri, 20 Oct 2017 17:20:39 GMT</pubDate>
    <lastBuildDate>Fri, 20 Oct 2017 17:20:39 GMT</lastBuildDate>
    <item>
      <title>x 1.0 [linux-64, win-64]</title>
      <link>https://doc?a&amp;b</link>
      <description>a &lt;b&gt; &amp; &quot;c&quot; ]]&gt;</description>
      <comments>http://dev</comments>
      <guid isPermaLink="false">pkg:conda/x@1.0?channel=my%20%3Cchannel%3E</guid>
      <pubDate>Fri, 20 Oct 2017 17:20:39 GMT</pubDate>
    </item>
    <item>
      <title>y 1.0 [linux-64, win-64]</title>
      <description>No description.</description>
      <guid isPermaLink="false">pkg:conda/y@1.0?channel=my%20%3Cchannel%3E</guid>
    </item>
  </channel>
</rss>
"#
        );
    }

    #[test]
    fn an_empty_channel_has_a_feed_without_dates() {
        let feed = feed(Vec::new(), &Formats::default());
        assert!(feed.contains("<title>this channel</title>"));
        assert!(!feed.contains("Date") && !feed.contains("<item>"));
    }

    #[test]
    fn the_newest_hundred_come_first() {
        let names: Vec<String> = (0..150).map(|number| format!("n{number:03}")).collect();
        let packages = names.iter().enumerate();
        let packages = packages.map(|(number, name)| {
            let decade = i64::try_from(number / 10).unwrap();
            (name.as_str(), package(1_000_000_000 + decade, &[]))
        });
        let titles = texts(&feed(packages.collect(), &Formats::default()), "title");
        assert_eq!(titles.len(), 101);
        let first = |at: usize| titles.get(at).unwrap().split(' ').next().unwrap();
        assert_eq!((first(1), first(10), first(11)), ("n140", "n149", "n130"));
    }

    #[test]
    fn links_lead_to_web_pages_only() {
        for (url, page) in [
            ("https://x", true),
            ("http://x/y z", false),
            ("https://x\u{202e}", false),
            ("http://", false),
            ("https:///etc/passwd", false),
            ("javascript:alert(1)//https://x", false),
            ("file:///x", false),
            ("x", false),
            ("", false),
        ] {
            let about = [("home", Json::String(url.to_owned()))];
            let base = Formats {
                base_url: Some(url.to_owned()),
                ..Formats::default()
            };
            let links = texts(&feed(vec![("x", package(1, &about))], &base), "link");
            let expected = if page {
                vec![url, url]
            } else {
                vec!["index.html"]
            };
            assert_eq!(links, expected, "{url}");
        }
    }

    #[test]
    fn guids_tell_names_versions_and_channels_apart() {
        let all = ["a", "a@b", "a%40b", "a?channel=b", "a/b", "\u{e9}", ""];
        let mut seen = BTreeMap::new();
        for name in all {
            for version in all {
                for channel in all {
                    let guid = guid(name, version, channel);
                    let twice = seen.insert(guid, (name, version, channel));
                    assert_eq!(twice, None);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_back_as_far_as_xml_can_say_it(text in any::<String>()) {
            let about = [("summary", Json::String(text.clone()))];
            let feed = feed(vec![("x", package(1, &about))], &named(&text));
            let said: String = text.chars().filter(|c| is_xml(*c)).collect();
            // Readers take every end of a line for a line feed (XML 1.0, section 2.11).
            let one = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
            let descriptions = texts(&feed, "description");
            prop_assert_eq!(one(descriptions.last().unwrap()), one(&said));
        }
    }
}
