//! Writes a SpinRedisApp as YAML with comments. Every string of the Spin manifest is quoted unless it is surely one, and
//! none can leave its comment.

use std::fmt::Write;

use super::{
    address::{self, Address},
    convert::{OutComponent, SpinRedisApp},
};

/// Columns a comment fills before it goes on in the next line.
const WIDTH: usize = 110;

/// The manifest of an app; `file` is what its first comment calls the Spin manifest.
pub(super) fn yaml(file: &str, app: &SpinRedisApp) -> String {
    let mut out = Yaml::default();
    out.comment(0, &format!("Made of {file} by `spinredis import`. Look it through, then check it with `spinredis check -f FILE`."));
    if !app.description.is_empty() {
        out.comment(0, &app.description);
    }
    for note in &app.notes {
        out.comment(0, note);
    }
    secret(&mut out, app);
    out.line(0, "apiVersion: spinredis.dev/v1alpha1");
    out.line(0, "kind: SpinRedisApp");
    out.line(0, "metadata:");
    out.line(1, &format!("name: {}", scalar(&app.name)));
    out.line(0, "spec:");
    out.line(1, "trigger:");
    match &app.address {
        Address::Plain { address, template } => {
            if let Some(template) = template {
                out.comment(2, &format!("{template} in the Spin manifest, with the defaults of its variables."));
            }
            if ["localhost", "127.0.0.1", "[::1]"].iter().any(|host| address.contains(&format!("//{host}"))) {
                out.comment(
                    2,
                    "In a cluster this is the pod itself: name the Service of your Redis, such as redis://redis.default.svc:6379.",
                );
            }
            out.line(2, &format!("address: {}", scalar(address)));
        }
        Address::Secret { why, .. } => {
            out.comment(2, why);
            out.line(2, "addressFrom:");
            out.line(3, &secret_key(app, address::KEY));
        }
    }
    if !app.variables.is_empty() {
        out.line(1, "variables:");
        for variable in &app.variables {
            if !variable.description.is_empty() {
                out.comment(1, &variable.description);
            }
            out.line(1, &format!("- name: {}", scalar(&variable.name)));
            match &variable.value {
                Some(value) => out.line(2, &format!("value: {}", scalar(value))),
                None => {
                    out.line(2, "valueFrom:");
                    out.line(3, &secret_key(app, &variable.name));
                }
            }
        }
    }
    if !app.stores.is_empty() {
        out.comment(1, "Kept in the Redis above unless a store names another server in `connection`.");
        out.line(1, "keyValueStores:");
        for store in &app.stores {
            out.line(1, &format!("- name: {}", scalar(store)));
        }
    }
    out.line(1, "components:");
    for component in &app.components {
        write_component(&mut out, component);
    }
    out.text
}

/// Says which Secret a person has to make.
fn secret(out: &mut Yaml, app: &SpinRedisApp) {
    let mut keys: Vec<&str> = Vec::new();
    if matches!(app.address, Address::Secret { .. }) {
        keys.push(address::KEY);
    }
    keys.extend(app.variables.iter().filter(|variable| variable.value.is_none()).map(|variable| variable.name.as_str()));
    if keys.is_empty() {
        return;
    }
    out.comment(0, "Create this Secret first, with a file for each value (a value on the command line stays in the shell's history):");
    let files: Vec<String> = keys.iter().map(|key| format!("--from-file={key}=./{key}")).collect();
    out.command(0, &format!("kubectl create secret generic {} {}", app.name, files.join(" ")));
}

fn secret_key(app: &SpinRedisApp, key: &str) -> String {
    format!("secretKeyRef: {{name: {}, key: {}}}", scalar(&app.name), scalar(key))
}

fn write_component(out: &mut Yaml, component: &OutComponent) {
    for note in &component.notes {
        out.comment(1, note);
    }
    out.line(1, &format!("- id: {}", scalar(&component.id)));
    out.list("channels", component.channels.iter().map(|channel| (channel.as_str(), None)));
    out.line(2, "source:");
    for note in &component.source_notes {
        out.comment(3, note);
    }
    for command in &component.commands {
        out.command(3, command);
    }
    out.line(3, "oci:");
    out.line(4, &format!("reference: {}", scalar(&component.reference)));
    out.pairs("env", &component.env);
    out.pairs("variables", &component.variables);
    out.list("allowedOutboundHosts", component.hosts.iter().map(|(host, comment)| (host.as_str(), *comment)));
    out.list("keyValueStores", component.stores.iter().map(|store| (store.as_str(), None)));
}

#[derive(Default)]
struct Yaml {
    text: String,
}

impl Yaml {
    fn line(&mut self, depth: usize, line: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{:indent$}{line}", "", indent = depth * 2);
    }

    /// A command in a comment, in one line: it is copied as a whole.
    fn command(&mut self, depth: usize, command: &str) {
        self.line(depth, &format!("#   {}", in_one_line(command)));
    }

    /// A comment, wrapped at words.
    fn comment(&mut self, depth: usize, text: &str) {
        let text = in_one_line(text);
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && depth * 2 + line.chars().count() + word.chars().count() + 3 > WIDTH {
                self.line(depth, &format!("# {line}"));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        if !line.is_empty() {
            self.line(depth, &format!("# {line}"));
        }
    }

    fn list<'a>(&mut self, name: &str, items: impl Iterator<Item = (&'a str, Option<&'a str>)>) {
        for (index, (item, comment)) in items.enumerate() {
            if index == 0 {
                self.line(2, &format!("{name}:"));
            }
            if let Some(comment) = comment {
                self.comment(2, comment);
            }
            self.line(2, &format!("- {}", scalar(item)));
        }
    }

    fn pairs(&mut self, name: &str, pairs: &[(String, String)]) {
        for (index, (key, value)) in pairs.iter().enumerate() {
            if index == 0 {
                self.line(2, &format!("{name}:"));
            }
            self.line(2, &format!("- name: {}", scalar(key)));
            self.line(3, &format!("value: {}", scalar(value)));
        }
    }
}

/// The text with blanks for line ends and other control characters, so that nothing of it leaves its line.
pub(super) fn in_one_line(text: &str) -> String {
    text.chars().map(|letter| if is_printable(letter) { letter } else { ' ' }).collect()
}

/// A string in YAML: plain where no reader could take it for anything else, and quoted otherwise.
fn scalar(text: &str) -> String {
    const NOT_TEXT: [&str; 12] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity"];
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./:@".contains(&byte))
        && !text.ends_with(':')
        && !NOT_TEXT.contains(&text.to_ascii_lowercase().as_str());
    if plain {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            letter if is_printable(letter) => quoted.push(letter),
            letter => {
                // Writing to a String cannot fail.
                let _ = write!(quoted, "\\U{:08x}", u32::from(letter));
            }
        }
    }
    quoted.push('"');
    quoted
}

/// Whether a character may stand in YAML as it is, and shows as itself (YAML 1.2.2, 5.1; line ends are not printable here).
fn is_printable(letter: char) -> bool {
    !letter.is_control()
        && !matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_read_back_as_they_were() {
        for text in [
            "plain",
            "true",
            "12",
            "1e3",
            "",
            "a: b",
            "a #b",
            "{{ x }}",
            "- a",
            "quote\" \\",
            "zwei\nZeilen\r\t",
            "\u{7}\u{85}\u{feff}ü",
            "*",
            "~",
            "redis://h:6379",
            "No",
        ] {
            let value: serde_json::Value = serde_saphyr_value(&format!("v: {}\n", scalar(text)));
            assert_eq!(value["v"].as_str(), Some(text), "{}", scalar(text));
        }
    }

    #[test]
    fn nothing_leaves_a_comment() {
        let mut out = Yaml::default();
        out.comment(1, "one\nspec: {}\r\u{2028}two");
        assert_eq!(out.text, "  # one spec: {} two\n");
    }

    fn serde_saphyr_value(text: &str) -> serde_json::Value {
        let app = format!("apiVersion: spinredis.dev/v1alpha1\nkind: SpinRedisApp\n{text}");
        spinredis_crds::manifest::Documents::parse(&app).unwrap().app
    }
}
