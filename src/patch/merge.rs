//! How a fix changes an object. Owns the rule that objects merge, `null` deletes and all else replaces (RFC 7396);
//! must not know which keys mean what.

use crate::json::{Json, Object};

/// Merges `fix` into `target`. Goes no deeper than `fix`, whose depth [`crate::json::parse`] limits.
pub(super) fn merge(target: &mut Object, fix: &Object) {
    for (key, value) in fix {
        match value {
            Json::Null => {
                target.remove(key);
            }
            Json::Object(inner) => {
                let place = target.entry(key.clone()).or_insert(Json::Null);
                // Into something else an object merges as into an empty one, so that no `null` of a fix stays.
                if !matches!(place, Json::Object(_)) {
                    *place = Json::Object(Object::new());
                }
                if let Json::Object(target) = place {
                    merge(target, inner);
                }
            }
            other => {
                target.insert(key.clone(), other.clone());
            }
        }
    }
}

/// The keys whose values are not the same in both, in order.
pub(super) fn differing(before: &Object, after: &Object) -> Vec<String> {
    let gone = before.keys().filter(|key| !after.contains_key(*key));
    let other = after
        .iter()
        .filter(|(key, value)| before.get(*key) != Some(*value))
        .map(|(key, _)| key);
    let mut keys: Vec<String> = gone.chain(other).cloned().collect();
    keys.sort();
    keys
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::json;

    fn object(text: &str) -> Object {
        match json::parse(text.as_bytes()).unwrap() {
            Json::Object(object) => object,
            _ => panic!("{text}"),
        }
    }

    #[test]
    fn objects_merge_and_all_else_replaces() {
        for (target, fix, merged, keys) in [
            ("{}", r#"{"a":1}"#, r#"{"a":1}"#, "a"),
            (r#"{"a":[1,2]}"#, r#"{"a":[3]}"#, r#"{"a":[3]}"#, "a"),
            (r#"{"a":1,"b":2}"#, r#"{"a":null}"#, r#"{"b":2}"#, "a"),
            (r#"{"b":2}"#, r#"{"a":null}"#, r#"{"b":2}"#, ""),
            (r#"{"a":null}"#, r#"{"a":null}"#, "{}", "a"),
            (
                r#"{"a":{"b":1,"c":2},"d":0}"#,
                r#"{"a":{"c":null,"d":[]}}"#,
                r#"{"a":{"b":1,"d":[]},"d":0}"#,
                "a",
            ),
            (
                r#"{"a":[]}"#,
                r#"{"a":{"b":null,"c":1}}"#,
                r#"{"a":{"c":1}}"#,
                "a",
            ),
            ("{}", r#"{"a":{"b":null}}"#, r#"{"a":{}}"#, "a"),
            (
                r#"{"z":1}"#,
                r#"{"a":[{"b":null}],"z":2}"#,
                r#"{"a":[{"b":null}],"z":2}"#,
                "a z",
            ),
            (r#"{"a":{"b":1}}"#, r#"{"a":"x"}"#, r#"{"a":"x"}"#, "a"),
            (r#"{"a":1}"#, r#"{"a":1}"#, r#"{"a":1}"#, ""),
        ] {
            let before = object(target);
            let mut after = before.clone();
            merge(&mut after, &object(fix));
            assert_eq!(Json::Object(after.clone()).compact(), merged, "{fix}");
            assert_eq!(differing(&before, &after).join(" "), keys, "{fix}");
            let once = after.clone();
            merge(&mut after, &object(fix));
            assert_eq!(after, once, "{fix}");
        }
    }
}
