//! What works, and is perhaps not meant.

use std::collections::BTreeSet;

use super::Finding;
use crate::{glob, manifest::ManifestSpec, store::DEFAULT_STORE};

/// Everything that a person may want to look at again.
pub(super) fn warnings(spec: &ManifestSpec) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, component) in spec.components.iter().enumerate() {
        for pattern in &component.patterns {
            if let Some(channel) = component.channels.iter().find(|channel| glob::matches(pattern, channel)) {
                let message = format!(
                    "gets each message of channel `{channel}` twice, once more for pattern `{pattern}` which matches it: remove one of them unless you mean it"
                );
                found.push(Finding { path: format!("spec.components[{index}]"), message });
            }
        }
    }
    // What the components of an application open is not known here.
    if spec.application.is_none() {
        let opened: BTreeSet<&str> = spec.components.iter().flat_map(|component| &component.key_value_stores).map(String::as_str).collect();
        for (index, store) in spec.key_value_stores.iter().enumerate().filter(|(_, store)| !opened.contains(store.name.as_str())) {
            let hint = if store.name == DEFAULT_STORE { ", since also the default store must be named there" } else { "" };
            let message = format!("no component opens store `{}`: name it in a component's keyValueStores{hint}, or remove it", store.name);
            found.push(Finding { path: format!("spec.keyValueStores[{index}]"), message });
        }
    }
    found
}
