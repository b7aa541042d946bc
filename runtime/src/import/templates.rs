//! Spin's `{{ variable }}` templates in the strings of a manifest.

/// A piece of a string.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'t> {
    Text(&'t str),
    Variable(&'t str),
}

/// The names of the variables in a string, or a sentence's end about what is wrong with it.
pub(super) fn names(text: &str) -> Result<Vec<&str>, String> {
    let pieces = pieces(text)?;
    Ok(pieces.into_iter().filter_map(|piece| if let Piece::Variable(name) = piece { Some(name) } else { None }).collect())
}

/// The string with its variables replaced, or the name of the first without a value.
pub(super) fn resolve(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, &str> {
    let Ok(pieces) = pieces(text) else { return Err(text) };
    pieces
        .into_iter()
        .map(|piece| match piece {
            Piece::Text(text) => Ok(text.to_owned()),
            Piece::Variable(name) => value(name).ok_or(name),
        })
        .collect()
}

/// Whether a string is a template.
pub(super) fn is_template(text: &str) -> bool {
    text.contains("{{")
}

fn pieces(mut text: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    while let Some((before, rest)) = text.split_once("{{") {
        let Some((name, after)) = rest.split_once("}}") else { return Err("has `{{` without `}}`".to_owned()) };
        pieces.push(Piece::Text(before));
        pieces.push(Piece::Variable(name.trim()));
        text = after;
    }
    pieces.push(Piece::Text(text));
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_found_and_replaced() {
        let text = "redis://{{ host }}:{{port}}/0";
        assert_eq!(names(text).unwrap(), ["host", "port"]);
        let value = |name: &str| (name == "host").then(|| "cache".to_owned());
        assert_eq!(resolve(text, value), Err("port"));
        assert_eq!(resolve("{{ host }}!", value), Ok("cache!".to_owned()));
        assert!(names("{{ host").is_err());
    }
}
