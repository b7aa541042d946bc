//! TOML values with their lines. Every getter refuses what has the wrong type and goes on, so that one run finds all.

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::Refusal;

/// A value and the line it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) line: usize,
}

/// A string and its line.
pub(super) type Text = At<String>;

/// Reads a TOML text and collects what is wrong with it.
pub(super) struct Reader<'t> {
    text: &'t str,
    /// Offsets of the line ends.
    ends: Vec<usize>,
    pub(super) refusals: Vec<Refusal>,
}

/// A table and what messages call it, such as `component.hello`.
#[derive(Clone)]
pub(super) struct Table<'v, 't> {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) fields: &'v DeTable<'t>,
}

/// A field: its key's line and its value.
#[derive(Clone, Copy)]
pub(super) struct Field<'v, 't> {
    pub(super) line: usize,
    pub(super) value: &'v Spanned<DeValue<'t>>,
}

impl<'t> Reader<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, ends: text.match_indices('\n').map(|(offset, _)| offset).collect(), refusals: Vec::new() }
    }

    /// The whole document; what is not TOML is refused.
    pub(super) fn document(&mut self) -> Option<DeTable<'t>> {
        match DeTable::parse(self.text) {
            Ok(document) => Some(document.into_inner()),
            Err(error) => {
                let line = self.line(error.span().map_or(0, |span| span.start));
                self.refuse(line, format!("this is not TOML: {}", error.message().replace('\n', ", ")));
                None
            }
        }
    }

    pub(super) fn refuse(&mut self, line: usize, message: impl AsRef<str>) {
        self.refusals.push(Refusal::new(line, message));
    }

    fn line(&self, offset: usize) -> usize {
        self.ends.partition_point(|end| *end < offset) + 1
    }

    /// A field of a table, if it is there.
    pub(super) fn field<'v>(&self, table: &Table<'v, 't>, key: &str) -> Option<Field<'v, 't>> {
        let (key, value) = table.fields.get_key_value(key)?;
        Some(Field { line: self.line(key.span().start), value })
    }

    /// The fields of a table in the order of the file, each with its name.
    pub(super) fn fields<'v>(&self, table: &Table<'v, 't>) -> Vec<(String, Field<'v, 't>)> {
        let mut fields: Vec<_> = table.fields.iter().collect();
        fields.sort_by_key(|(key, _)| key.span().start);
        fields.into_iter().map(|(key, value)| (key.get_ref().to_string(), Field { line: self.line(key.span().start), value })).collect()
    }

    /// Refuses every field that is not among `known`.
    pub(super) fn only(&mut self, table: &Table<'_, 't>, known: &[&str]) {
        for (key, field) in self.fields(table) {
            if !known.contains(&key.as_str()) {
                let place = if table.name.is_empty() { String::new() } else { format!("{}: ", table.name) };
                self.refuse(field.line, format!("{place}`{key}` is not a key that is known here; there are {}", known.join(", ")));
            }
        }
    }

    /// Refuses a field that is missing.
    pub(super) fn missing(&mut self, table: &Table<'_, 't>, key: &str, example: &str) {
        let place = if table.name.is_empty() { "the manifest" } else { &table.name };
        self.refuse(table.line, format!("{place} has no `{key}`: write {example}"));
    }

    pub(super) fn string(&mut self, table: &Table<'_, 't>, key: &str) -> Option<Text> {
        let field = self.field(table, key)?;
        self.string_of(&path(&table.name, key), field)
    }

    pub(super) fn string_of(&mut self, path: &str, field: Field<'_, 't>) -> Option<Text> {
        match field.value.get_ref().as_str() {
            Some(text) => Some(At { value: text.to_owned(), line: field.line }),
            None => {
                self.wrong_type(path, field, "a string");
                None
            }
        }
    }

    pub(super) fn boolean(&mut self, table: &Table<'_, 't>, key: &str) -> bool {
        let Some(field) = self.field(table, key) else { return false };
        field.value.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong_type(&path(&table.name, key), field, "true or false");
            false
        })
    }

    /// A list of strings, each with its own line; absent is empty.
    pub(super) fn strings(&mut self, table: &Table<'_, 't>, key: &str) -> Vec<Text> {
        let Some(field) = self.field(table, key) else { return Vec::new() };
        let name = path(&table.name, key);
        let items = self.items(&name, field);
        items.into_iter().filter_map(|item| self.string_of(&name, item)).collect()
    }

    /// The items of a list, each with its line.
    pub(super) fn items<'v>(&mut self, path: &str, field: Field<'v, 't>) -> Vec<Field<'v, 't>> {
        match field.value.get_ref().as_array() {
            Some(items) => items.iter().map(|value| Field { line: self.line(value.span().start), value }).collect(),
            None => {
                self.wrong_type(path, field, "a list");
                Vec::new()
            }
        }
    }

    /// A table of strings, in the order of the file; absent is empty.
    pub(super) fn string_map(&mut self, table: &Table<'_, 't>, key: &str) -> Vec<(String, Text)> {
        let Some(inner) = self.table(table, key) else { return Vec::new() };
        let fields = self.fields(&inner);
        fields.into_iter().filter_map(|(key, field)| Some((key.clone(), self.string_of(&path(&inner.name, &key), field)?))).collect()
    }

    pub(super) fn table<'v>(&mut self, table: &Table<'v, 't>, key: &str) -> Option<Table<'v, 't>> {
        let field = self.field(table, key)?;
        self.table_of(&path(&table.name, key), field)
    }

    pub(super) fn table_of<'v>(&mut self, path: &str, field: Field<'v, 't>) -> Option<Table<'v, 't>> {
        match field.value.get_ref().as_table() {
            Some(fields) => Some(Table { name: path.to_owned(), line: field.line, fields }),
            None => {
                self.wrong_type(path, field, "a table");
                None
            }
        }
    }

    fn wrong_type(&mut self, path: &str, field: Field<'_, 't>, wanted: &str) {
        self.refuse(field.line, format!("{path} must be {wanted}, and is of type {}", field.value.get_ref().type_str()));
    }
}

impl Field<'_, '_> {
    /// Whether it is there without saying anything: an empty list, table or string, or `false`.
    pub(super) fn is_empty(&self) -> bool {
        match self.value.get_ref() {
            DeValue::Array(items) => items.is_empty(),
            DeValue::Table(fields) => fields.is_empty(),
            DeValue::String(text) => text.is_empty(),
            DeValue::Boolean(value) => !value,
            _ => false,
        }
    }
}

/// The name of a field as messages write it.
pub(super) fn path(table: &str, key: &str) -> String {
    if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") }
}
