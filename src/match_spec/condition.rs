//! The condition of a dependency (CEP 43). Owns its grammar: MatchSpecs joined by `and` and `or`, in parentheses;
//! must not judge whether it holds, which only a solver can.

use super::parse;

/// How deep parentheses may stand in one another.
const MAX_DEPTH: usize = 16;

/// Whether a text is a condition.
pub(super) fn is_condition(text: &str) -> bool {
    let (mut depth, mut operand, mut rest) = (0_usize, None::<String>, text);
    // Whether a MatchSpec or a group is due.
    let mut due = true;
    while let Some((word, after)) = word(rest) {
        rest = after;
        match word {
            "(" if due && operand.is_none() && depth < MAX_DEPTH => depth = depth.saturating_add(1),
            ")" if depth > 0 && ends(&mut operand, &mut due) => depth = depth.saturating_sub(1),
            "and" | "or" if ends(&mut operand, &mut due) => due = true,
            "(" | ")" | "and" | "or" => return false,
            _ if !due => return false,
            // White space within a MatchSpec, which CEP 43 would not have, is read by clients.
            word => match &mut operand {
                Some(operand) => {
                    operand.push(' ');
                    operand.push_str(word);
                }
                None => operand = Some(word.to_owned()),
            },
        }
    }
    depth == 0 && ends(&mut operand, &mut due)
}

/// Ends the MatchSpec that is being read, if there is one. Whether a whole operand came before.
fn ends(operand: &mut Option<String>, due: &mut bool) -> bool {
    let Some(text) = operand.take() else {
        return !*due;
    };
    *due = false;
    parse::parse(&text, false).is_some()
}

/// A parenthesis, or what stands up to the next one or white space outside of brackets; and what follows it.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let (mut brackets, mut quote) = (0_usize, None);
    let end = text.char_indices().find_map(|(at, c)| {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => brackets = brackets.saturating_add(1),
            (None, ']') => brackets = brackets.saturating_sub(1),
            (None, '(' | ')') if brackets == 0 => return Some(at.max(1)),
            (None, c) if brackets == 0 && c.is_whitespace() => return Some(at),
            _ => {}
        }
        None
    });
    text.split_at_checked(end.unwrap_or(text.len()))
        .filter(|(word, _)| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_and_what_is_none() {
        for text in [
            "__unix",
            "python>=3.10",
            " python >=3.10 ",
            "__unix and python>=3.10",
            "(__unix or __win) and (python>=3 and (pypy or foo==1.0))",
            "((__unix))",
            "python[version=\"(>=3.10 )\", build='*_cpython'] or pypy",
            "python<3.9 or android",
        ] {
            assert!(is_condition(text), "{text}");
        }
        let deep = "(".repeat(100_000) + "a" + &")".repeat(100_000);
        for text in [
            "",
            " ",
            "and",
            "a and",
            "or a",
            "a and or b",
            "a and and b",
            "(a",
            "a)",
            "()",
            "a (b)",
            "(a) b",
            "(a)(b)",
            "a[when=\"b\"]",
            "a[when='b'] and c",
            "a,",
            "[",
            "a]",
            "a['b",
            &deep,
        ] {
            assert!(!is_condition(text), "{text}");
        }
    }
}
