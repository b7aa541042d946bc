//! Names that Kubernetes and the API take: DNS labels made from Spin's names, and what is refused of others.

/// Longest name of an app: the names of its children are made from it.
pub(super) const MAX_APP: usize = 52;
/// Longest id of a component: a DNS label.
pub(super) const MAX_ID: usize = 63;

/// A DNS label made of a name: lower case, with `-` for `_`, `.` and blanks. None when that is no label.
pub(super) fn label(name: &str, longest: usize) -> Option<String> {
    let label: String = name
        .chars()
        .map(|letter| match letter {
            '_' | '.' | ' ' => '-',
            other => other.to_ascii_lowercase(),
        })
        .collect();
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (!label.is_empty() && label.len() <= longest && label.bytes().all(allowed) && !label.starts_with('-') && !label.ends_with('-'))
        .then_some(label)
}

/// Whether a variable's name is one of Spin's: lower_snake_case.
pub(super) fn is_variable(name: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    name.len() <= 64 && name.starts_with(|first: char| first.is_ascii_lowercase()) && name.split('_').all(word)
}

/// Whether a key-value store's name is one that the API takes.
pub(super) fn is_store(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    let end = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    name.len() <= MAX_ID && name.bytes().all(allowed) && end(name.bytes().next()) && end(name.bytes().last())
}

/// A tag for an image, of an app's version.
pub(super) fn tag(version: &str) -> String {
    let tag: String = version
        .chars()
        .take(128)
        .map(|letter| if letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '-') { letter } else { '_' })
        .collect();
    match tag.trim_start_matches(['.', '-']) {
        "" => "latest".to_owned(),
        tag => tag.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_made_where_that_changes_nothing_but_case_and_separators() {
        assert_eq!(label("My_App.v2", MAX_APP).as_deref(), Some("my-app-v2"));
        assert_eq!(label("plain", MAX_APP).as_deref(), Some("plain"));
        for wrong in ["", "_a", "a_", "größe", "a/b", &"a".repeat(53)] {
            assert_eq!(label(wrong, MAX_APP), None, "{wrong}");
        }
    }

    #[test]
    fn variables_are_lower_snake_case() {
        assert!(is_variable("api_key2") && is_variable("a"));
        assert!(!is_variable("Api") && !is_variable("a__b") && !is_variable("_a") && !is_variable("2a") && !is_variable("a-b"));
    }

    #[test]
    fn a_version_becomes_a_tag() {
        assert_eq!((tag("1.2.0"), tag("1.0.0+build"), tag("")), ("1.2.0".into(), "1.0.0_build".into(), "latest".into()));
    }
}
