//! The gate's own pages: what was served, what was refused and why; for people, who need no JavaScript for it, and
//! for programs. Every word from outside is escaped. Must not know how requests are answered.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::channel::Require;
use super::log::{Counts, Event, Log, What};
use crate::shown::line;

/// How the pages look.
const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.2em .8em .2em 0;\
border-bottom:1px solid #ccc;overflow-wrap:anywhere}.refused,.failed{color:#a00}.let{color:#850}\
@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}.refused,.failed{color:#f88}.let{color:#fc6}}";

/// What there is to say of one channel.
#[derive(Debug, Clone)]
pub(super) struct About {
    /// Its name in the gate.
    pub name: String,
    /// Where it is, without credentials.
    pub place: String,
    /// What it has to show.
    pub require: Require,
    /// The names of the keys that are trusted for it.
    pub trust: Vec<String>,
}

/// The page of all channels, or of one.
pub(super) fn page(channels: &[&About], log: &Log) -> String {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>sigindex gate</title><style>{STYLE}</style></head><body>\n\
         <h1>sigindex gate</h1>\n"
    );
    for about in channels {
        channel(&mut html, about, &log.counts(&about.name));
    }
    let is_shown = |event: &Event| channels.iter().any(|about| about.name == event.channel);
    let events: Vec<Event> = log.events().into_iter().filter(is_shown).collect();
    table(&mut html, "Refused, failed, let through", &events, |what| {
        what != What::Served
    });
    table(&mut html, "Fetched and served last", &events, |what| {
        what == What::Served
    });
    html.push_str("</body></html>\n");
    html
}

fn channel(html: &mut String, about: &About, counts: &Counts) {
    let (name, place) = (escape(&about.name), escape(&about.place));
    let keys = match about.trust.as_slice() {
        [] => "none".to_owned(),
        keys => escape(&keys.join(", ")),
    };
    // Writing into a String can't fail.
    let _ = write!(
        html,
        "<h2>{name}</h2>\n<p>{place}; trusted keys: {keys}. {}</p>\n<p>{} answers ({} bytes), {} refused, {} failed, \
         {} not there.{}{}</p>\n",
        about.require.meaning(),
        counts.served,
        counts.bytes,
        counts.all_refused(),
        counts.failed,
        counts.absent,
        kinds(" Refused: ", counts.refused.iter()),
        kinds(" Let through: ", counts.let_through.iter()),
    );
}

fn kinds<'a>(title: &str, kinds: impl Iterator<Item = (&'a &'static str, &'a u64)>) -> String {
    let kinds: Vec<String> = kinds
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    match kinds.as_slice() {
        [] => String::new(),
        kinds => escape(&format!("{title}{}.", kinds.join(", "))),
    }
}

fn table(html: &mut String, title: &str, events: &[Event], is_meant: impl Fn(What) -> bool) {
    let _ = writeln!(html, "<h2>{title}</h2>");
    let mut events = events
        .iter()
        .filter(|event| is_meant(event.what))
        .peekable();
    if events.peek().is_none() {
        html.push_str("<p>Nothing yet.</p>\n");
        return;
    }
    html.push_str("<table><tr><th>time</th><th></th><th>file</th><th>why</th></tr>\n");
    for event in events {
        let class = event.what.as_str().split(' ').next().unwrap_or_default();
        let _ = writeln!(
            html,
            "<tr class=\"{class}\"><td>{:.0}</td><td>{}</td><td>{}/{}</td><td>{}</td></tr>",
            event.time,
            event.what.as_str(),
            escape(&event.channel),
            escape(&event.path),
            escape(&event.why)
        );
    }
    html.push_str("</table>\n");
}

/// The same for programs.
pub(super) fn status(channels: &[&About], log: &Log) -> Value {
    let channels = channels.iter().map(|about| {
        let counts = log.counts(&about.name);
        json!({
            "name": about.name, "place": about.place, "require": about.require.as_str(), "trust": about.trust,
            "meaning": about.require.meaning(), "served": counts.served, "bytes": counts.bytes,
            "absent": counts.absent, "failed": counts.failed, "refused": counts.refused,
            "let_through": counts.let_through,
        })
    });
    let events = log.events().into_iter().map(|event| {
        json!({
            "time": event.time.to_string(), "channel": event.channel, "path": event.path,
            "what": event.what.as_str(), "why": event.why,
        })
    });
    json!({"channels": channels.collect::<Vec<_>>(), "events": events.collect::<Vec<_>>()})
}

/// A text as HTML shows it, with characters that don't show, or deceive, spelled out.
fn escape(text: &str) -> String {
    quick_xml::escape::escape(line(text).as_str()).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::super::answer::{Refusal, Wrong};
    use super::*;

    #[test]
    fn nothing_from_outside_is_markup() {
        let log = Log::new(["main".to_owned()], Box::new(|_| {}));
        for number in 0..300 {
            let refusal = Refusal {
                path: format!("noarch/<script>{number}"),
                kind: Wrong::Missing,
                sentence: "it's \"bad\" & \u{202e}worse".to_owned(),
            };
            log.refused("main", &refusal);
        }
        let about = About {
            name: "main".to_owned(),
            place: "https://a/<b>".to_owned(),
            require: Require::Package,
            trust: vec!["Key".to_owned()],
        };
        let html = page(&[&about], &log);
        assert!(html.contains("https://a/&lt;b&gt;; trusted keys: Key."));
        assert!(html.contains("300 refused") && html.contains("300 missing signature"));
        assert!(html.contains("noarch/&lt;script&gt;299") && !html.contains("&lt;script&gt;99<"));
        assert!(html.contains("it&apos;s &quot;bad&quot; &amp; \\u{202e}worse"));
        assert!(!html.contains("<script") && html.contains("are not stopped"));
        let status = status(&[&about], &log);
        assert_eq!(status["channels"][0]["refused"]["missing signature"], 300);
        assert_eq!(status["events"].as_array().unwrap().len(), 200);
    }
}
