//! One store: its commands, with the prefix put before keys and taken off again.

use std::{collections::BTreeSet, sync::Arc};

use redis::{Cmd, FromRedisValue, cmd};

use super::StoreError;
use crate::host::redis::server::Server;

/// How many keys one step of SCAN looks at. Redis's own default is 10, at the cost of many more round trips.
const SCAN_COUNT: usize = 1000;
/// How many bytes of keys one listing may have.
const MAX_LISTING_BYTES: usize = 16 << 20;

/// A prefix on a Redis server.
pub struct Store {
    server: Arc<Server>,
    prefix: String,
}

/// One page of a listing.
pub struct Page {
    /// Keys, without the prefix.
    pub keys: Vec<String>,
    /// Where the next page begins; none after the last.
    pub cursor: Option<u64>,
}

impl Store {
    /// A store of the keys that begin with `prefix`.
    pub fn new(server: Arc<Server>, prefix: String) -> Self {
        Self { server, prefix }
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.server.query(command).await.map_err(|error| StoreError::Other(error.to_string()))
    }

    /// For commands that must not be run twice.
    async fn query_once<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        self.server.query_once(command).await.map_err(|error| StoreError::Other(error.to_string()))
    }

    /// The value of a key.
    pub async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.query(cmd("GET").arg(self.key(key))).await
    }

    /// Gives a key a value.
    pub async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.query(cmd("SET").arg(self.key(key)).arg(value)).await
    }

    /// Takes a key away.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.query(cmd("DEL").arg(self.key(key))).await
    }

    /// Whether a key is there.
    pub async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        self.query(cmd("EXISTS").arg(self.key(key))).await
    }

    /// A page of keys: SCAN may give a key twice and pages without keys, of which none is returned but the last.
    pub async fn page(&self, cursor: u64) -> Result<Page, StoreError> {
        let pattern = format!("{}*", escaped(&self.prefix));
        let mut cursor = cursor;
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCAN_COUNT);
            let (next, found): (u64, Vec<Vec<u8>>) = self.query(&scan).await?;
            let keys: Vec<String> = found.iter().filter_map(|key| self.name(key)).collect();
            if next == 0 || !keys.is_empty() {
                return Ok(Page { keys, cursor: (next != 0).then_some(next) });
            }
            cursor = next;
        }
    }

    /// All keys, each once.
    pub async fn keys(&self) -> Result<Vec<String>, StoreError> {
        let mut keys = BTreeSet::new();
        let (mut cursor, mut bytes) = (0, 0);
        loop {
            let page = self.page(cursor).await?;
            for key in page.keys {
                bytes += key.len();
                keys.insert(key);
            }
            if bytes > MAX_LISTING_BYTES {
                return Err(StoreError::Other(format!("the store has more than {MAX_LISTING_BYTES} bytes of keys: list them in pages")));
            }
            match page.cursor {
                Some(next) => cursor = next,
                None => return Ok(keys.into_iter().collect()),
            }
        }
    }

    /// A key without the prefix; none for one that is no text or not of this store.
    fn name(&self, key: &[u8]) -> Option<String> {
        String::from_utf8(key.strip_prefix(self.prefix.as_bytes())?.to_vec()).ok()
    }

    /// Adds to the number at a key.
    pub async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        self.query_once(cmd("INCRBY").arg(self.key(key)).arg(delta)).await
    }

    /// Gives a key another value if it still has the expected one. A script is one step for everybody else (Redis docs,
    /// "Atomicity of scripts").
    pub async fn compare_and_set(&self, key: &str, expected: Option<&[u8]>, value: &[u8]) -> Result<bool, StoreError> {
        const SCRIPT: &str = "local now = redis.call('GET', KEYS[1]) \
            if (ARGV[1] == '0' and now == false) or (ARGV[1] == '1' and now == ARGV[2]) then redis.call('SET', KEYS[1], ARGV[3]) return 1 end \
            return 0";
        let mut command = cmd("EVAL");
        command.arg(SCRIPT).arg(1).arg(self.key(key)).arg(u8::from(expected.is_some())).arg(expected.unwrap_or_default()).arg(value);
        self.query_once(&command).await
    }

    /// The values of keys.
    pub async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = cmd("MGET");
        for key in keys {
            command.arg(self.key(key));
        }
        self.query(&command).await
    }

    /// Gives keys values.
    pub async fn set_many(&self, pairs: &[(String, Vec<u8>)]) -> Result<(), StoreError> {
        if pairs.is_empty() {
            return Ok(());
        }
        let mut command = cmd("MSET");
        for (key, value) in pairs {
            command.arg(self.key(key)).arg(value);
        }
        self.query(&command).await
    }

    /// Takes keys away.
    pub async fn delete_many(&self, keys: &[String]) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut command = cmd("DEL");
        for key in keys {
            command.arg(self.key(key));
        }
        self.query(&command).await
    }
}

/// A text that a Redis glob pattern takes literally (Redis docs, KEYS).
fn escaped(text: &str) -> String {
    text.chars().flat_map(|c| if "*?[]\\^-".contains(c) { vec!['\\', c] } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_no_pattern() {
        assert_eq!(escaped("shop/a*b/[x]\\"), r"shop/a\*b/\[x\]\\");
    }
}
