//! What an error of Redis means for a stream of dead letters: a short name, by which a log line is written when it is news and
//! not for every attempt, and a sentence that says what to do.

use std::{fmt::Display, sync::Mutex, sync::PoisonError};

use redis::RedisError;

use super::link::LinkError;

/// Why a stream cannot be used now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// Redis's own short name where it has one: `WRONGTYPE`, `NOPERM`; else `connect`, `auth`, `silent` or `other`.
    pub name: String,
    /// A sentence.
    pub sentence: String,
}

impl Trouble {
    /// What an error means for the stream of this key.
    pub fn of(error: &LinkError, stream: &str) -> Self {
        match error {
            LinkError::Connect(error) => Self::new("connect", error),
            LinkError::Auth { .. } => Self::new("auth", error),
            LinkError::Silent(_) => Self::new("silent", error),
            LinkError::Redis(error) => Self::of_redis(error, stream),
        }
    }

    /// The same of what Redis itself says.
    pub fn of_redis(error: &RedisError, stream: &str) -> Self {
        let said = said(error);
        let name = error.code().unwrap_or(match error.is_io_error() {
            true => "connect",
            false => "other",
        });
        if said.contains("unknown command") {
            return Self::new(
                "unknown",
                format!("this Redis is too old, or the command is disabled: {said}; streams need Redis 6.2 or newer"),
            );
        }
        match name {
            "WRONGTYPE" => {
                Self::new(name, "the key holds something else than a stream: name another key in deadLetter.stream, or remove that one")
            }
            "NOPERM" => Self::new(
                name,
                format!(
                    "{said}: permit XADD, XLEN, XRANGE, XREVRANGE, XDEL, XGROUP, XREADGROUP, XAUTOCLAIM, XCLAIM, XACK and EVAL on `{stream}` and `{stream}{}` with ACL SETUSER",
                    spinredis_crds::DeadLetter::REDRIVE_SUFFIX
                ),
            ),
            "OOM" => Self::new(name, "Redis is at its maxmemory and takes no more: raise it, or lower deadLetter.maxLength"),
            "MOVED" | "ASK" | "CLUSTERDOWN" | "CROSSSLOT" => Self::new(
                name,
                format!(
                    "{said}: the server is a Redis Cluster, where dead letters cannot be kept; name a single server in deadLetter.connection"
                ),
            ),
            "READONLY" => {
                Self::new(name, "the server is a read-only replica: name the primary in deadLetter.connection, or wait for the failover")
            }
            "NOAUTH" => Self::new(name, "Redis wants a password: put it into a Secret and name that in passwordFrom"),
            _ => Self::new(name, said),
        }
    }

    fn new(name: &str, sentence: impl Display) -> Self {
        Self { name: name.to_owned(), sentence: sentence.to_string() }
    }
}

/// Redis's own words, without those of the library around them.
fn said(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        _ => error.to_string(),
    }
}

/// Remembers which trouble was told last.
#[derive(Debug, Default)]
pub struct News(Mutex<Option<String>>);

impl News {
    /// Whether this trouble is another than the last one.
    pub fn is_new(&self, trouble: &Trouble) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = last.as_deref() != Some(&trouble.name);
        *last = Some(trouble.name.clone());
        new
    }

    /// Whether there was trouble until now.
    pub fn is_over(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_when_it_is_news() {
        let (news, one, two) = (News::default(), Trouble::new("OOM", "a"), Trouble::new("NOPERM", "b"));
        assert!(!news.is_over());
        assert_eq!([news.is_new(&one), news.is_new(&one), news.is_new(&two), news.is_new(&one)], [true, false, true, true]);
        assert_eq!([news.is_over(), news.is_over(), news.is_new(&one)], [true, false, true]);
    }
}
