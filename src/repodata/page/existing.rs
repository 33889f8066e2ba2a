//! Whether a page that stands in the channel may be replaced. Owns the marks by which an indexer's page is
//! known; must not know what ours holds.

/// How far into a page its marks are looked for: those of either indexer stand long before.
const HEAD: usize = 16_384;

/// What a page of sigindex has in its head.
const OURS: &str = "<meta name=\"generator\" content=\"sigindex\">";

/// How conda-index's pages begin, and the beginning of the one style sheet that both have.
const BEGINNING: &str = "<html><head><title>";
const STYLE: &str = "</title><styletype=\"text/css\">a,a:active{text-decoration:none;color:blue;}";

/// The first header cells of the table: of a channel's page, and of a subdir's.
const TABLES: [&str; 2] = [
    "<th style=\"padding-right:18px;\">Package</th>",
    "<th>Filename</th>",
];

/// Whether an `index.html` that stands there may be replaced: one that sigindex or conda-index wrote. Another is
/// somebody's own page.
pub fn may_replace(existing: &[u8]) -> bool {
    let head = existing.get(..HEAD).unwrap_or(existing);
    let head = String::from_utf8_lossy(head);
    is_ours(&head) || (is_conda_indexs(&head) && has_conda_indexs_end(existing))
}

/// The mark counts only in the head, so that a page that tells of it is not taken for ours.
fn is_ours(head: &str) -> bool {
    let head = head.split("</head>").next().unwrap_or_default();
    let head = head.split("<body").next().unwrap_or_default();
    head.starts_with("<!DOCTYPE html>") && head.contains(OURS)
}

fn is_conda_indexs(head: &str) -> bool {
    let begins = without_space(head).starts_with(&without_space(BEGINNING));
    begins && without_space(head).contains(STYLE) && TABLES.iter().any(|table| head.contains(table))
}

/// `<address>Updated: … - Files: 7</address>` and the ends of body and document.
fn has_conda_indexs_end(existing: &[u8]) -> bool {
    let end = existing.len().saturating_sub(200);
    let end = String::from_utf8_lossy(existing.get(end..).unwrap_or_default());
    let Some((_, address)) = end.rsplit_once("<address>Updated: ") else {
        return false;
    };
    let Some((_, files)) = address.split_once(" - Files: ") else {
        return false;
    };
    without_space(files)
        .strip_suffix("</address></body></html>")
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

fn without_space(text: &str) -> String {
    text.split_ascii_whitespace().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// As conda-index's templates print it; `middle` stands between head and end.
    fn page(table: &str, end: &str) -> String {
        format!(
            "<html>\n<head>\n  <title>a</title>\n  <style type=\"text/css\">\n    a, a:active {{\n      text-decoration: none; color: blue;\n    }}\n  </style>\n</head>\n<body>\n  <table>\n    <tr>\n      {table}\n  </table>\n  {end}"
        )
    }

    const END: &str =
        "<address>Updated: 2026-11-22 07:41:29 +0000 - Files: 39</address>\n</body>\n</html>";

    #[test]
    fn pages_of_indexers_are_replaced() {
        for table in TABLES {
            assert!(may_replace(page(table, END).as_bytes()));
            assert!(may_replace(page(table, &format!("{END}\n")).as_bytes()));
        }
        let ours = format!("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n{OURS}\n</head>");
        assert!(may_replace(ours.as_bytes()));
    }

    #[test]
    fn somebodys_own_page_stays() {
        let [table, _] = TABLES;
        for own in [
            String::new(),
            "<html><head><title>My channel</title></head></html>".to_owned(),
            page("<th>Mine</th>", END),
            page(table, "</body></html>"),
            page(table, &END.replace("39", "many")),
            page(table, &format!("{END}<p>And me</p>")),
            format!("<p>{}", page(table, END)),
            format!("<!DOCTYPE html><html><head></head><body>{OURS}"),
            format!("<!DOCTYPE html><html><body>{OURS}"),
            format!("<p>{OURS}"),
            format!("<!DOCTYPE html>{}{OURS}", " ".repeat(HEAD)),
        ] {
            assert!(!may_replace(own.as_bytes()), "{own}");
        }
        assert!(!may_replace(&[0xff; 300]));
    }
}
