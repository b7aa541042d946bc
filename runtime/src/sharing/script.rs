//! Calls the script that changes the group: by its name, and with its text when the server does not know it (any more).

use std::{sync::Arc, time::Duration};

use redis::cmd;
use spinredis_crds::Reason;
use spinredis_sharing::{
    script::{Call, Place, TEXT},
    wire::Reply,
};
use tokio::time::timeout;

use super::beats::Patience;
use crate::dead_letters::link::{Link, LinkError};

/// Why the group did not answer.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The script could not be run.
    #[error("the group of replicas that share messages cannot be reached: {0}")]
    Link(#[from] LinkError),
    /// A permission is missing.
    #[error("{server} does not permit what replicas need to share messages ({error}): {}", permit(key))]
    Permission {
        /// The server.
        server: String,
        /// Redis's own words.
        error: String,
        /// The group's key.
        key: String,
    },
    /// Nothing can be written.
    #[error(
        "{server} takes no writes ({error}), so replicas that share messages may begin none: give it memory (OOM), let its snapshots succeed \
         (MISCONF), or lead the address to the primary (READONLY, NOREPLICAS)"
    )]
    NoWrites {
        /// The server.
        server: String,
        /// Redis's own words.
        error: String,
    },
    /// No answer in time.
    #[error("{server} did not answer within {patience:?}: others may take this replica for dead meanwhile")]
    Silent {
        /// The server.
        server: String,
        /// How long was waited.
        patience: Duration,
    },
    /// What came is no answer of the script.
    #[error("{0} answered what the script never says: does something else use the key {1}?")]
    NoAnswer(String, String),
}

impl ScriptError {
    /// The reason in the app's status.
    pub fn reason(&self) -> Reason {
        match self {
            ScriptError::Permission { .. } | ScriptError::NoWrites { .. } => Reason::RedisPermission,
            ScriptError::Link(LinkError::Auth { .. }) => Reason::RedisAuthFailed,
            _ => Reason::RedisUnreachable,
        }
    }

    /// Whether the server did not answer at all or lets nobody in, and would not answer another call either.
    pub(super) fn is_away(&self) -> bool {
        use LinkError::{Auth, Connect, Silent};
        matches!(self, ScriptError::Silent { .. } | ScriptError::Link(Connect(_) | Silent(_) | Auth { .. }))
    }
}

/// The script of one group.
pub struct Script {
    link: Arc<Link>,
    place: Place,
    /// Its SHA-1.
    name: String,
    patience: Patience,
}

impl Script {
    /// On a server of the app. An answer is waited for no longer than it is of use.
    pub(super) fn new(link: Arc<Link>, place: Place, patience: Patience) -> Self {
        Self { link, place, name: spinredis_sharing::script::name(), patience }
    }

    /// Runs it once. An answer that does not come leaves open whether it ran; all it does may be done twice.
    pub async fn call(&self, call: &Call<'_>) -> Result<Reply, ScriptError> {
        let arguments = call.arguments(&self.place);
        let text: String = match self.run("EVALSHA", &self.name, &arguments).await {
            Err(ScriptError::Link(LinkError::Redis(error))) if error.code() == Some("NOSCRIPT") => {
                self.run("EVAL", TEXT, &arguments).await?
            }
            other => other?,
        };
        Reply::parse(&text).ok_or_else(|| ScriptError::NoAnswer(self.link.server(), self.place.key.clone()))
    }

    async fn run(&self, command: &str, script: &str, arguments: &[String]) -> Result<String, ScriptError> {
        let mut command = cmd(command);
        command.arg(script).arg(1).arg(&self.place.key).arg(arguments);
        let patience = if self.link.is_open() { self.patience.open } else { self.patience.new };
        match timeout(patience, self.link.query(&command)).await {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(LinkError::Redis(error))) if is_permission(&error) => {
                Err(ScriptError::Permission { server: self.link.server(), error: error.to_string(), key: self.place.key.clone() })
            }
            Ok(Err(LinkError::Redis(error))) if takes_no_writes(&error) => {
                Err(ScriptError::NoWrites { server: self.link.server(), error: error.to_string() })
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => {
                self.link.forget().await;
                Err(ScriptError::Silent { server: self.link.server(), patience })
            }
        }
    }
}

/// What to do about a right that is missing: all that replicas need to share messages, for the keys and channels of one app.
pub(super) fn permit(key: &str) -> String {
    let prefix = key.split_once(":group-").map_or(key, |(prefix, _)| prefix);
    format!(
        "permit it for this user with ACL SETUSER … ~{prefix}:* &{prefix}:* +subscribe +eval +evalsha +time +info +hgetall +hset +hdel +pexpire \
         +publish; or set delivery: EachReplica, and every replica handles every message"
    )
}

/// Whether Redis is there and refuses every write: its memory is full, its snapshots fail, or it follows another server.
fn takes_no_writes(error: &redis::RedisError) -> bool {
    let (code, text) = (error.code().unwrap_or_default(), error.to_string());
    ["OOM", "MISCONF", "READONLY", "NOREPLICAS"].iter().any(|word| code == *word || text.contains(&format!("{word} ")))
}

/// Redis says it at the command, or, of a command inside the script, in the script's error: "The user executing the script can't …" (7),
/// "ACL failure in script" (8).
fn is_permission(error: &redis::RedisError) -> bool {
    let text = error.to_string();
    error.code() == Some("NOPERM")
        || ["NOPERM", "No permissions", "ACL failure", "The user executing the script can't"].iter().any(|words| text.contains(words))
}
