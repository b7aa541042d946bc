//! Outbound Redis: the connections that guests open, and the shared ones below the key-value stores.
//!
//! A guest's connection is its own while it holds it: one guest's SELECT, MULTI or blocking command is no other's business.
//! It goes back to a pool afterwards, unless it was left in a state of its own.

/// Translates [`RedisError`] for a version of the interface whose error has a case for each.
macro_rules! translate_errors {
    ($error:ident) => {
        impl From<$crate::host::redis::RedisError> for $error {
            fn from(error: $crate::host::redis::RedisError) -> Self {
                use $crate::host::redis::RedisError;
                match error {
                    RedisError::InvalidAddress => $error::InvalidAddress,
                    RedisError::TooManyConnections => $error::TooManyConnections,
                    RedisError::TypeError => $error::TypeError,
                    RedisError::Other(text) => $error::Other(text),
                }
            }
        }
    };
}

/// Translates the arguments and answers of `execute` for a version of the interface; all of them have the same.
macro_rules! translate_values {
    ($parameter:ident, $result:ident) => {
        impl From<$crate::host::redis::answer::Part> for $result {
            fn from(part: $crate::host::redis::answer::Part) -> Self {
                use $crate::host::redis::answer::Part;
                match part {
                    Part::Nil => $result::Nil,
                    Part::Status(text) => $result::Status(text),
                    Part::Int64(number) => $result::Int64(number),
                    Part::Binary(bytes) => $result::Binary(bytes),
                }
            }
        }

        impl From<$parameter> for $crate::host::redis::commands::Parameter {
            fn from(parameter: $parameter) -> Self {
                match parameter {
                    $parameter::Int64(number) => Self::Int64(number),
                    $parameter::Binary(bytes) => Self::Binary(bytes),
                }
            }
        }
    };
}

mod answer;
mod commands;
pub mod pool;
pub mod server;
mod spin_1;
mod spin_2;
mod spin_3;

pub use commands::Connection;

/// How many connections one call may have open at once.
pub const MAX_OPEN: usize = 32;

/// Why an outbound call failed; the cases of the WIT.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// Malformed, or not allowed.
    #[error("the address is not valid, or the component may not connect to it")]
    InvalidAddress,
    /// More than [`MAX_OPEN`], or more than one component may have.
    #[error("too many connections are open")]
    TooManyConnections,
    /// Redis answered with something else than the function gives.
    #[error("the value is of another type")]
    TypeError,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<redis::RedisError> for RedisError {
    fn from(error: redis::RedisError) -> Self {
        // WRONGTYPE is Redis's own word for it; "value is not an integer" is what INCR says of any other text.
        let text = error.to_string();
        if error.code() == Some("WRONGTYPE") || error.kind() == redis::ErrorKind::UnexpectedReturnType || text.contains("not an integer") {
            return RedisError::TypeError;
        }
        RedisError::Other(text)
    }
}
