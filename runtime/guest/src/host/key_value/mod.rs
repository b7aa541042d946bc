//! Key-value stores in Redis: the store behind Spin's and WASI's key-value interfaces.
//!
//! A store is a prefix on a Redis server: a key of the guest is `<prefix><key>` there. Nothing is cached, so what a call
//! has written is there for the next one and for other replicas.

/// Translates [`StoreError`] for a version of Spin's interface; `$other` is what it calls the case for everything else.
macro_rules! translate_errors {
    ($error:ident, $other:ident) => {
        impl From<$crate::host::key_value::StoreError> for $error {
            fn from(error: $crate::host::key_value::StoreError) -> Self {
                use $crate::host::key_value::StoreError;
                match error {
                    StoreError::TableFull => $error::StoreTableFull,
                    StoreError::NoSuchStore => $error::NoSuchStore,
                    StoreError::AccessDenied => $error::AccessDenied,
                    StoreError::Other(text) => $error::$other(text),
                }
            }
        }
    };
}

mod spin_1;
mod spin_2;
mod spin_3;
mod store;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use spin_1::Handles;
pub use store::Store;

/// How many stores one call may have open at once.
pub const MAX_OPEN: usize = 256;

/// Why an operation on a store failed; the union of what the interfaces can say.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// More than [`MAX_OPEN`] stores are open.
    #[error("too many stores are open")]
    TableFull,
    /// No such store.
    #[error("there is no such store")]
    NoSuchStore,
    /// The component does not list the store.
    #[error("the component may not use this store")]
    AccessDenied,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// The stores of an app as one component sees them.
#[derive(Clone, Default)]
pub struct Stores {
    /// Every store of the app, by name.
    pub known: Arc<BTreeMap<String, Arc<Store>>>,
    /// Names of those that the component may open.
    pub allowed: Arc<BTreeSet<String>>,
}

/// A store that a guest has open.
pub struct Opened(pub Arc<Store>);

impl Stores {
    /// The store of a name, if it exists and the component may use it. A guest that may not is told so, and whoever reads
    /// the log is told which entry is missing.
    pub fn open(&self, component: &str, name: &str) -> Result<Arc<Store>, StoreError> {
        let Some(store) = self.known.get(name) else {
            tracing::warn!(target: "guest", component, store = name, "there is no key-value store {name:?}: declare it in keyValueStores of the app");
            return Err(StoreError::NoSuchStore);
        };
        if !self.allowed.contains(name) {
            tracing::warn!(target: "guest", component, store = name, "the component may not open the key-value store {name:?}: add it to keyValueStores of the component");
            return Err(StoreError::AccessDenied);
        }
        Ok(store.clone())
    }
}
