//! The custom section `producers`: which languages and tools made a module
//! (<https://github.com/WebAssembly/tool-conventions/blob/main/ProducersSection.md>).
//!
//! A component has one of its own and one in each inner module; all are put together and each entry is told once. Spin's
//! Rust SDK leaves its version as the name of an export instead.

use wasmparser::ProducersSectionReader;

use super::printable;

/// Entries that are kept of each kind.
const MAX_ENTRIES: usize = 32;
/// What the Rust SDK of Spin exports, followed by its version with dashes for dots.
const SPIN_SDK: &str = "spin-sdk-version-";

/// Tools that tell the language of the author, whatever their runtimes were written in.
const LANGUAGE_OF_TOOL: [(&str, &str); 6] = [
    ("componentize-py", "Python"),
    ("ComponentizeJS", "JavaScript"),
    ("componentize-js", "JavaScript"),
    ("TinyGo", "Go"),
    ("Go cmd/compile", "Go"),
    ("componentize-go", "Go"),
];

/// Languages and tools, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producers {
    languages: Vec<(String, String)>,
    sdks: Vec<(String, String)>,
    processed_by: Vec<(String, String)>,
}

impl Producers {
    /// Adds what a section says. A damaged one says nothing: it has no meaning for how the component runs.
    pub(super) fn add_section(&mut self, fields: ProducersSectionReader<'_>) {
        for field in fields.into_iter().take(MAX_ENTRIES).map_while(Result::ok) {
            let list = match field.name {
                "language" => &mut self.languages,
                "sdk" => &mut self.sdks,
                "processed-by" => &mut self.processed_by,
                _ => continue,
            };
            for value in field.values.into_iter().take(MAX_ENTRIES).map_while(Result::ok) {
                add(list, printable(value.name), printable(value.version));
            }
        }
    }

    /// Looks at the name of an export, which may be an SDK's mark.
    pub(super) fn add_export(&mut self, name: &str) {
        if let Some(version) = name.strip_prefix(SPIN_SDK) {
            add(&mut self.sdks, "spin-sdk".to_owned(), printable(version).replace('-', "."));
        }
    }

    /// The language it was written in, as far as its tools say: `Rust`, `C++14`.
    pub fn language(&self) -> Option<String> {
        let tools = self.processed_by.iter().chain(&self.sdks);
        let of_tool = tools.filter_map(|(tool, _)| LANGUAGE_OF_TOOL.iter().find(|(name, _)| name.eq_ignore_ascii_case(tool)));
        if let Some((_, language)) = of_tool.into_iter().next() {
            return Some((*language).to_owned());
        }
        let languages: Vec<String> = self.languages.iter().map(|(name, version)| with_version(name, version)).collect();
        (!languages.is_empty()).then(|| languages.join(", "))
    }

    /// SDKs and tools with their versions: `spin-sdk 5.2.0`, `rustc 1.96.0`.
    pub fn tools(&self) -> Vec<String> {
        let mut tools: Vec<String> =
            self.sdks.iter().chain(&self.processed_by).map(|(name, version)| with_version(name, version)).collect();
        let mut seen = std::collections::BTreeSet::new();
        tools.retain(|tool| seen.insert(tool.clone()));
        tools
    }
}

fn add(list: &mut Vec<(String, String)>, name: String, version: String) {
    let entry = (name, version);
    if list.len() < MAX_ENTRIES && !list.contains(&entry) {
        list.push(entry);
    }
}

/// A name with the first word of its version: the rest is commits and dates.
fn with_version(name: &str, version: &str) -> String {
    match version.split_whitespace().next() {
        Some(version) => format!("{name} {version}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::describe;

    #[test]
    fn a_tool_for_one_language_tells_more_than_the_languages_of_its_runtime() {
        let text = r#"(component (core module (@producers (language "C11" "") (processed-by "clang" "19.1.5"))) (@producers (processed-by "componentize-py" "0.17.2")))"#;
        let producers = describe(&wat::parse_str(text).unwrap()).unwrap().producers;
        assert_eq!(producers.language().as_deref(), Some("Python"));
    }

    #[test]
    fn without_a_section_nothing_is_guessed() {
        let producers = describe(&wat::parse_str("(component)").unwrap()).unwrap().producers;
        assert_eq!((producers.language(), producers.tools()), (None, Vec::new()));
    }
}
