//! Why a session could not begin or broke: the sentence for people, the reason in the app's status, and the name in metrics.

use std::io;

use spinredis_crds::Reason;

use super::reader::ReadError;
use crate::connect::ConnectError;

/// Why a session could not begin or broke.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Redis refuses user or password.
    #[error("{address} refuses to sign in {user}: {error}; correct {origin}")]
    Auth {
        /// Server.
        address: String,
        /// As whom.
        user: String,
        /// Redis's own words.
        error: String,
        /// Where the password comes from.
        origin: String,
    },
    /// Redis wants a password and there is none.
    #[error("{0} wants a password and the app has none: name a Secret in trigger.passwordFrom")]
    NoPassword(String),
    /// Redis wants a password on a connection that was signed in.
    #[error("{address} does not take this connection as signed in any more ({error}): signing in again")]
    SignedOut {
        /// Server.
        address: String,
        /// Redis's own words.
        error: String,
    },
    /// Redis takes no connection now: too many clients, or protected mode.
    #[error("{address} turns the connection away: {error}")]
    TurnedAway {
        /// Server.
        address: String,
        /// Redis's own words.
        error: String,
    },
    /// Redis refuses a command for want of a permission.
    #[error("{address} does not permit {what}: {error}")]
    Permission {
        /// Server.
        address: String,
        /// Which command.
        what: String,
        /// Redis's own words.
        error: String,
    },
    /// Redis refuses something else.
    #[error("{address} refuses {what}: {error}")]
    Refused {
        /// Server.
        address: String,
        /// Which command.
        what: String,
        /// Redis's own words.
        error: String,
    },
    /// A Sentinel answers.
    #[error(
        "{0} is a Redis Sentinel, and nobody publishes there: name the Redis server itself, best by a host name that follows the primary"
    )]
    Sentinel(String),
    /// The replicas share messages, and a Cluster has no one order of them.
    #[error(
        "{0} is a node of a Redis Cluster, whose messages come to replicas in no one order, so they cannot share them: set delivery: \
         EachReplica with replicas: 1, or use a Redis without cluster mode"
    )]
    Cluster(String),
    /// TLS was fine for us and not for the server.
    #[error("{address} refuses our certificate, or that we present none: {error}; correct trigger.tls.clientCertificateFrom")]
    ClientCertificate {
        /// Server.
        address: String,
        /// What the TLS library says.
        error: io::Error,
    },
    /// The connection broke.
    #[error("the connection to {address} broke: {error}")]
    Broken {
        /// Server.
        address: String,
        /// How.
        error: ReadError,
    },
    /// The connection was closed while much was coming.
    #[error(
        "the connection to {address} broke while much was coming ({error}): if Redis logs 'overcoming of output buffer limits', raise its \
         client-output-buffer-limit pubsub"
    )]
    ClosedUnderLoad {
        /// Server.
        address: String,
        /// How.
        error: ReadError,
    },
    /// Nothing was heard for too long.
    #[error("{0} does not answer any more: the connection is half-open, or Redis is stopped")]
    Silent(String),
    /// A command was not answered.
    #[error("{address} takes connections and does not answer {what}: it is stopped, busy for long, or not Redis")]
    NoAnswer {
        /// Server.
        address: String,
        /// Which command.
        what: String,
    },
}

/// Why there was no session, as metrics call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A referenced Secret or ConfigMap key is missing or unreadable.
    Reference,
    /// The address or a certificate file is malformed.
    Settings,
    /// The name has no address, or nobody takes the connection.
    Unreachable,
    /// Server or client certificate, or no TLS at the other side.
    Tls,
    /// User or password.
    Auth,
    /// Redis refuses to talk: too many clients, protected mode, loading where that matters.
    Refused,
    /// The address is a Sentinel's.
    Sentinel,
    /// Redis closed the connection, or the network did.
    Closed,
    /// What answers does not speak RESP.
    Protocol,
    /// Nothing was heard for too long, on a new connection or on one that had been fine.
    Silent,
}

impl Failure {
    /// All, in the order of their places in [`SubscriptionState::failures`](super::state::SubscriptionState::failures).
    pub const ALL: [Failure; 10] = [
        Failure::Reference,
        Failure::Settings,
        Failure::Unreachable,
        Failure::Tls,
        Failure::Auth,
        Failure::Refused,
        Failure::Sentinel,
        Failure::Closed,
        Failure::Protocol,
        Failure::Silent,
    ];

    /// Label value in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Failure::Reference => "reference",
            Failure::Settings => "settings",
            Failure::Unreachable => "unreachable",
            Failure::Tls => "tls",
            Failure::Auth => "auth",
            Failure::Refused => "refused",
            Failure::Sentinel => "sentinel",
            Failure::Closed => "closed",
            Failure::Protocol => "protocol",
            Failure::Silent => "silent",
        }
    }
}

impl SessionError {
    /// What metrics call it.
    pub fn failure(&self) -> Failure {
        match self {
            SessionError::Connect(error) => match error {
                ConnectError::Reference(_) => Failure::Reference,
                ConnectError::Address { .. } | ConnectError::Certificate { .. } => Failure::Settings,
                ConnectError::Tcp { .. } | ConnectError::Timeout(_) => Failure::Unreachable,
                ConnectError::Tls { .. } => Failure::Tls,
            },
            SessionError::Auth { .. } | SessionError::NoPassword(_) | SessionError::SignedOut { .. } => Failure::Auth,
            SessionError::TurnedAway { .. } | SessionError::Permission { .. } | SessionError::Refused { .. } => Failure::Refused,
            SessionError::Sentinel(_) => Failure::Sentinel,
            SessionError::Cluster(_) => Failure::Settings,
            SessionError::ClientCertificate { .. } => Failure::Tls,
            SessionError::Broken { error: ReadError::Protocol(_), .. } => Failure::Protocol,
            SessionError::Broken { .. } | SessionError::ClosedUnderLoad { .. } => Failure::Closed,
            SessionError::Silent(_) | SessionError::NoAnswer { .. } => Failure::Silent,
        }
    }

    /// The reason in the app's status.
    pub fn reason(&self) -> Reason {
        match self {
            SessionError::Connect(ConnectError::Reference(_)) => Reason::MissingReference,
            SessionError::Auth { .. }
            | SessionError::NoPassword(_)
            | SessionError::SignedOut { .. }
            | SessionError::ClientCertificate { .. } => Reason::RedisAuthFailed,
            SessionError::Permission { .. } => Reason::RedisPermission,
            // A malformed address or certificate too: it comes from a Secret or ConfigMap, whose correction helps without an
            // edit of the app.
            _ => Reason::RedisUnreachable,
        }
    }
}
