//! One dead letter, and the fields of the stream entry that keeps it. Pure: no Redis here.
//!
//! Everything but the payload is text, so that `redis-cli XREVRANGE` can be read. Fields that this version does not know are
//! left alone, so that an older program reads what a newer one wrote.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

/// Longest error that is kept, in bytes; a longer one is cut.
pub const MAX_ERROR_BYTES: usize = 4096;

/// The reason of a message that was still waiting when the time to drain was up.
pub const REASON_DRAIN: &str = "drain";

/// The reason of a message that was handed out again and again and never had an end: its pod ended each time, or had no room.
pub const REASON_UNFINISHED: &str = "unfinished";

/// A message that failed for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was published.
    pub payload: Bytes,
    /// The channel it was published on.
    pub channel: Arc<str>,
    /// The pattern of the subscription it came by; none when the component lists the channel.
    pub pattern: Option<Arc<str>>,
    /// The server it came from, without credentials.
    pub address: Arc<str>,
    /// `namespace/name` of the app.
    pub app: Arc<str>,
    /// Id of the component.
    pub component: Arc<str>,
    /// Why the last attempt failed, in words.
    pub error: String,
    /// The kind of that failure as metrics name it, or [`REASON_DRAIN`] or [`REASON_UNFINISHED`].
    pub reason: Cow<'static, str>,
    /// How often it was tried, over all its lives.
    pub attempts: u32,
    /// When it was first received, in milliseconds since 1970-01-01T00:00:00Z.
    pub first_ms: u64,
    /// When the last attempt failed, in milliseconds since 1970-01-01T00:00:00Z.
    pub last_ms: u64,
}

/// Why the entry of a stream is no dead letter.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EntryError {
    /// A field is absent.
    #[error("it has no field `{0}`, so spinredis did not write it")]
    Missing(&'static str),
    /// A field must be text and is not.
    #[error("its field `{0}` is not text (UTF-8)")]
    NotText(&'static str),
    /// A field must be a number and is not.
    #[error("its field `{field}` is `{value}`, which is not a whole number")]
    NotNumber {
        /// Name of the field.
        field: &'static str,
        /// What it holds.
        value: String,
    },
}

const CHANNEL: &str = "channel";
const PATTERN: &str = "pattern";
const ADDRESS: &str = "address";
const APP: &str = "app";
const COMPONENT: &str = "component";
const ERROR: &str = "error";
const REASON: &str = "reason";
const ATTEMPTS: &str = "attempts";
const FIRST_MS: &str = "first-ms";
const LAST_MS: &str = "last-ms";
const PAYLOAD: &str = "payload";

/// Milliseconds since 1970-01-01T00:00:00Z, as the entries count time.
pub fn milliseconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

impl Entry {
    /// The fields of its stream entry in their order, the payload last.
    pub fn fields(&self) -> Vec<(&'static str, Cow<'_, [u8]>)> {
        let text = |text: &'_ str| Cow::Owned(text.as_bytes().to_vec());
        let mut fields: Vec<(&'static str, Cow<'_, [u8]>)> = vec![
            (APP, Cow::Borrowed(self.app.as_bytes())),
            (COMPONENT, Cow::Borrowed(self.component.as_bytes())),
            (CHANNEL, Cow::Borrowed(self.channel.as_bytes())),
        ];
        fields.extend(self.pattern.as_ref().map(|pattern| (PATTERN, Cow::Borrowed(pattern.as_bytes()))));
        fields.extend([
            (ADDRESS, Cow::Borrowed(self.address.as_bytes())),
            (REASON, Cow::Borrowed(self.reason.as_bytes())),
            (ERROR, Cow::Borrowed(cut(&self.error, MAX_ERROR_BYTES).as_bytes())),
            (ATTEMPTS, text(&self.attempts.to_string())),
            (FIRST_MS, text(&self.first_ms.to_string())),
            (LAST_MS, text(&self.last_ms.to_string())),
            (PAYLOAD, Cow::Borrowed(&self.payload[..])),
        ]);
        fields
    }

    /// Reads a stream entry. Of a field that is there twice the first counts.
    pub fn parse(fields: &[(Bytes, Bytes)]) -> Result<Self, EntryError> {
        let fields = Fields(fields);
        Ok(Self {
            channel: fields.text(CHANNEL)?.into(),
            pattern: fields.find(PATTERN).map(|_| fields.text(PATTERN)).transpose()?.map(Arc::from),
            address: fields.text(ADDRESS)?.into(),
            app: fields.text(APP)?.into(),
            component: fields.text(COMPONENT)?.into(),
            error: fields.text(ERROR)?.to_owned(),
            reason: Cow::Owned(fields.text(REASON)?.to_owned()),
            attempts: fields.number(ATTEMPTS)?,
            first_ms: fields.number(FIRST_MS)?,
            last_ms: fields.number(LAST_MS)?,
            payload: fields.find(PAYLOAD).ok_or(EntryError::Missing(PAYLOAD))?.clone(),
        })
    }

    /// The app and component that an entry says it belongs to, whatever else it holds.
    pub fn owner(fields: &[(Bytes, Bytes)]) -> Option<(&[u8], &[u8])> {
        let fields = Fields(fields);
        Some((fields.find(APP)?, fields.find(COMPONENT)?))
    }

    /// What the manifest calls the subscription it came by: the pattern if there is one, else the channel.
    pub fn subscription(&self) -> &str {
        self.pattern.as_deref().unwrap_or(&self.channel)
    }

    /// What it counts against the bound of the letters that wait, in bytes.
    pub fn cost(&self) -> u64 {
        /// Names of fields, numbers, and what the structures themselves take.
        const OVERHEAD: usize = 256;
        (self.payload.len() + self.channel.len() + self.error.len().min(MAX_ERROR_BYTES) + OVERHEAD) as u64
    }
}

struct Fields<'a>(&'a [(Bytes, Bytes)]);

impl<'a> Fields<'a> {
    fn find(&self, name: &str) -> Option<&'a Bytes> {
        self.0.iter().find(|(known, _)| known == name.as_bytes()).map(|(_, value)| value)
    }

    fn text(&self, name: &'static str) -> Result<&'a str, EntryError> {
        std::str::from_utf8(self.find(name).ok_or(EntryError::Missing(name))?).map_err(|_| EntryError::NotText(name))
    }

    fn number<T: std::str::FromStr>(&self, name: &'static str) -> Result<T, EntryError> {
        let text = self.text(name)?;
        text.parse().map_err(|_| EntryError::NotNumber { field: name, value: cut(text, 64).to_owned() })
    }
}

/// The beginning of a text, of no more bytes than this and of whole characters.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
#[path = "entry_tests.rs"]
pub(in crate::dead_letters) mod tests;
