//! The forms of strings in words: a person who wrote something else is shown what to write, and not a regular expression.

use crate::kubernetes::{CIDR, LABEL_NAME, PERCENTAGE};

/// Each pattern of the schema, and what it asks for.
const FORMS: [(&str, &str); 14] = [
    (r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "of an id: write lower-case letters, digits and dashes, for example order-mailer"),
    (
        r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        "of a name in Kubernetes: write lower-case letters, digits, dashes and dots, for example redis-credentials",
    ),
    (
        r"^([-_a-zA-Z0-9]|[.][-_a-zA-Z0-9])[-._a-zA-Z0-9]*$",
        "of a key: write letters, digits, dashes, underscores and dots, for example greeter.wasm",
    ),
    (r"^[a-z0-9]([-_a-z0-9]*[a-z0-9])?$", "of a store's name: write lower-case letters, digits, dashes and underscores, for example cache"),
    (
        r"^[a-z](_?[a-z0-9])*$",
        "of a variable's name: write lower-case letters, digits and single underscores, a letter first, for example api_token",
    ),
    (r"^[^=]+$", "of an environment variable's name: write it without an equals sign, for example LOG_LEVEL"),
    (r"^([0-9]{1,5}(h|m|s|ms)){1,4}$", "of a duration: write hours, minutes, seconds and milliseconds, for example 500ms, 30s or 1h30m"),
    (r"^[0-9]+([.][0-9]+)?(Ki|Mi|Gi|k|M|G)?$", "of a size: write for example 128Mi or 1Gi"),
    (r"^[0-9]+([.][0-9]+)?(m|Ki|Mi|Gi|Ti|k|M|G|T)?$", "of a quantity: write for example 100m or 2 for CPU, 128Mi for memory"),
    (
        r"^sha256:[0-9a-f]{64}$",
        "of a digest: write sha256: and 64 hexadecimal digits, for example sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    ),
    (
        r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
        "of a label's value: write letters, digits, dashes, underscores and dots, for example team-a",
    ),
    (LABEL_NAME, "of a label's name: write NAME or PREFIX/NAME, for example example.com/team"),
    (PERCENTAGE, "of a share: write a whole number without quotes, or a percentage, for example \"50%\""),
    (CIDR, "of a network: write an address and the length of its prefix, for example 10.1.0.0/16"),
];

/// What a pattern asks for, to go on after `does not have the form`; the pattern itself when it is not known.
pub(crate) fn of(pattern: &str) -> &str {
    FORMS.iter().find(|(known, _)| *known == pattern).map_or(pattern, |(_, words)| words)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::crd;

    fn unexplained(schema: &Value, found: &mut Vec<String>) {
        match schema {
            Value::Object(fields) => {
                found.extend(fields.get("pattern").and_then(Value::as_str).filter(|pattern| of(pattern) == *pattern).map(str::to_owned));
                fields.values().for_each(|field| unexplained(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| unexplained(item, found)),
            _ => {}
        }
    }

    #[test]
    fn every_pattern_of_the_schema_is_explained_with_an_example() {
        let mut found = Vec::new();
        unexplained(&crd::schema(), &mut found);
        assert_eq!(found, [""; 0]);
        assert!(FORMS.iter().all(|(_, words)| words.starts_with("of a") && words.contains("for example")));
    }
}
