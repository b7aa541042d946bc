//! Templates: text with `{{ name }}` in the places of variables, as Spin writes them.
//!
//! Blanks inside the braces do not matter. There is no escape: two opening braces always begin a variable, while closing
//! braces alone, and single braces, are text.

/// A template that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Itself.
    Text(String),
    /// The value of the variable of this name.
    Variable(String),
}

/// Why a template could not be read or resolved. Its text is not repeated: it may hold a secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TemplateError {
    /// `{{` without `}}`.
    #[error("`{{{{` is not closed: write {{{{ name }}}}, where name is a variable")]
    Unclosed,
    /// What stands in the braces is no name.
    #[error(
        "`{{{{ {0} }}}}` does not name a variable: names are lower-case letters, digits and single underscores, such as {{{{ api_token }}}}"
    )]
    Name(String),
    /// A variable that nobody knows.
    #[error("there is no variable `{0}`: add it to variables, or correct the name")]
    Unknown(String),
}

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("{{") {
            let (name, after) = behind.split_once("}}").ok_or(TemplateError::Unclosed)?;
            let name = name.trim();
            if !is_name(name) {
                return Err(TemplateError::Name(name.chars().take(64).map(|c| if c.is_control() { '?' } else { c }).collect()));
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Variable(name.to_owned()));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The pieces, in their order.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The names of the variables, in their order.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Text(_) => None,
        })
    }

    /// The text with the values of its variables.
    pub fn resolve(&self, mut value: impl FnMut(&str) -> Option<String>) -> Result<String, TemplateError> {
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Variable(name) => text.push_str(&value(name).ok_or_else(|| TemplateError::Unknown(name.clone()))?),
            }
        }
        Ok(text)
    }
}

/// Whether a text may name a variable, by Spin's rule: lower-case ASCII letters, digits and single underscores, a letter
/// first and no underscore last.
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && !text.ends_with('_')
        && !text.contains("__")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved(text: &str) -> String {
        let value = |name: &str| ["host", "port_1"].contains(&name).then(|| name.to_uppercase());
        Template::parse(text).unwrap().resolve(value).unwrap()
    }

    #[test]
    fn variables_are_replaced_and_all_else_is_kept() {
        for (text, expected) in [
            ("", ""),
            ("plain { } }} text", "plain { } }} text"),
            ("https://{{ host }}:{{port_1}}/", "https://HOST:PORT_1/"),
            ("{{host}}{{  host\t}}", "HOSTHOST"),
            ("{{ host }}}", "HOST}"),
            ("grüße {{ host }} ✓", "grüße HOST ✓"),
        ] {
            assert_eq!(resolved(text), expected);
        }
        assert_eq!(Template::parse("{{ a }}-{{ b }}-{{ a }}").unwrap().variables().collect::<Vec<_>>(), ["a", "b", "a"]);
        assert_eq!(Template::parse("{ a }").unwrap().variables().count(), 0);
    }

    #[test]
    fn what_cannot_be_read_or_is_unknown_gets_a_sentence() {
        assert_eq!(Template::parse("{{ a }} {{ b"), Err(TemplateError::Unclosed));
        for name in ["", "A", "1a", "a__b", "a_", "_a", "a-b", "a b", "{ a"] {
            assert_eq!(Template::parse(&format!("{{{{ {name} }}}}")), Err(TemplateError::Name(name.to_owned())));
        }
        let unknown = Template::parse("{{ nobody }}").unwrap().resolve(|_| None).unwrap_err();
        assert_eq!(unknown.to_string(), "there is no variable `nobody`: add it to variables, or correct the name");
        assert!(TemplateError::Unclosed.to_string().contains("write {{ name }}"));
    }
}
