//! What works, and is perhaps not meant.

use std::{collections::BTreeSet, fmt, time::Duration};

use super::Finding;
use crate::{component::Component, glob, manifest::ManifestSpec, store::DEFAULT_STORE};

/// Everything that a person may want to look at again.
pub(super) fn warnings(spec: &ManifestSpec) -> Vec<Finding> {
    let mut found = Vec::new();
    for (index, component) in spec.components.iter().enumerate() {
        let path = format!("spec.components[{index}]");
        found.extend(twice(component).map(|message| Finding { path: path.clone(), message }));
        let of_dispatch = dispatch(spec, component).into_iter();
        found.extend(of_dispatch.map(|(field, message)| Finding { path: format!("{path}.{field}"), message }));
    }
    // What the components of an application open is not known here.
    if spec.application.is_none() {
        found.extend(unused_stores(spec));
    }
    found
}

/// Messages that a component gets for a channel and again for a pattern.
fn twice(component: &Component) -> impl Iterator<Item = String> {
    component.patterns.iter().filter_map(|pattern| {
        let channel = component.channels.iter().find(|channel| glob::matches(pattern, channel))?;
        Some(format!(
            "gets each message of channel `{channel}` twice, once more for pattern `{pattern}` which matches it: remove one of them unless you mean it"
        ))
    })
}

/// Settings of dispatch that do not go well together, each at the field to change first. What the manifest leaves to its
/// default counts as well.
fn dispatch(spec: &ManifestSpec, component: &Component) -> Vec<(&'static str, String)> {
    let limits = component.limits();
    let mut found = Vec::new();
    if limits.warm > limits.concurrency {
        let message = format!(
            "keeps {} instances ready, and concurrency lets {} messages be handled at once: the others only take memory",
            limits.warm, limits.concurrency
        );
        found.push(("instances.warm", message));
    }
    if limits.max_reuse > 1 {
        let message = "lets an instance handle several messages: what one of them leaves in the guest's memory meets the next; \
                       leave it out unless you know that the guest keeps nothing";
        found.push(("instances.maxReuse", message.to_owned()));
    }
    let largest = spec.max_message_bytes();
    if limits.queue_bytes < largest {
        let message = format!(
            "is {}, and trigger.maxMessageBytes lets in messages of {}: one of those fits no queue but an empty one; \
             raise queue.maxBytes or lower trigger.maxMessageBytes",
            Bytes(limits.queue_bytes),
            Bytes(largest)
        );
        found.push(("queue.maxBytes", message));
    }
    if limits.retry.max_attempts > 1 && component.dead_letter.is_none() {
        let message = "a message that fails for good is only counted and logged: name a stream in deadLetter to keep it";
        found.push(("retry", message.to_owned()));
    }
    let (longest, drain) = (limits.timeout.saturating_mul(limits.retry.max_attempts), spec.drain());
    if longest > drain {
        let attempts = match limits.retry.max_attempts {
            1 => "one attempt".to_owned(),
            attempts => format!("{attempts} attempts of {}", Time(limits.timeout)),
        };
        let message = format!(
            "a message may take {} ({attempts}), and a stopping pod has {} to finish: lower timeout or raise spec.drain",
            Time(longest),
            Time(drain)
        );
        found.push(("timeout", message));
    }
    found
}

fn unused_stores(spec: &ManifestSpec) -> impl Iterator<Item = Finding> {
    let opened: BTreeSet<&str> = spec.components.iter().flat_map(|component| &component.key_value_stores).map(String::as_str).collect();
    let unused = spec.key_value_stores.iter().enumerate().filter(move |(_, store)| !opened.contains(store.name.as_str()));
    unused.map(|(index, store)| {
        let hint = if store.name == DEFAULT_STORE { ", since also the default store must be named there" } else { "" };
        let message = format!("no component opens store `{}`: name it in a component's keyValueStores{hint}, or remove it", store.name);
        Finding { path: format!("spec.keyValueStores[{index}]"), message }
    })
}

/// A size in the largest unit that divides it, as a manifest would say it.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = [(30, "Gi"), (20, "Mi"), (10, "Ki")].into_iter().find(|(bits, _)| self.0 > 0 && self.0.trailing_zeros() >= *bits);
        match unit {
            Some((bits, unit)) => write!(f, "{}{unit}", self.0 >> bits),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A time in whole hours, minutes, seconds and milliseconds, as a manifest would say it.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let parts = [
            (u128::from(seconds / 3600), "h"),
            (u128::from(seconds / 60 % 60), "m"),
            (u128::from(seconds % 60), "s"),
            (u128::from(self.0.subsec_millis()), "ms"),
        ];
        if self.0.as_millis() == 0 {
            return f.write_str("0s");
        }
        parts.iter().filter(|(number, _)| *number > 0).try_for_each(|(number, unit)| write!(f, "{number}{unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    /// The warnings of an app whose one component and whose spec have these lines too.
    fn warned(component: &str, spec: &str) -> Vec<String> {
        let text = format!(
            "apiVersion: spinredis.dev/v1alpha1\nkind: SpinRedisApp\nmetadata: {{name: a}}\nspec:\n  components:\n  - {{id: a, channels: [c]{component}}}\n{spec}"
        );
        warnings(&Manifest::parse(&text).unwrap().spec).iter().map(Finding::to_string).collect()
    }

    #[test]
    fn settings_of_dispatch_that_do_not_go_well_together_are_named_at_the_field_to_change() {
        for (component, spec, expected) in [
            (", retry: {maxAttempts: 2}", "  drain: 1m", "retry: a message that fails for good is only counted and logged"),
            (", instances: {maxReuse: 2}", "", "instances.maxReuse: lets an instance handle several messages"),
            (", instances: {warm: 9}", "", "instances.warm: keeps 9 instances ready, and concurrency lets 8 messages"),
            (", instances: {warm: 3}, concurrency: 2", "", "instances.warm: keeps 3 instances ready, and concurrency lets 2 messages"),
            (", queue: {maxBytes: 4Mi}", "", "queue.maxBytes: is 4Mi, and trigger.maxMessageBytes lets in messages of 8Mi"),
            ("", "  trigger: {maxMessageBytes: 1.5Gi}", "queue.maxBytes: is 8Mi, and trigger.maxMessageBytes lets in messages of 1536Mi"),
            (", timeout: 1m30s", "", "timeout: a message may take 1m30s (one attempt), and a stopping pod has 30s to finish"),
            (
                ", retry: {maxAttempts: 3}, deadLetter: {stream: dead}, timeout: 500ms",
                "  drain: 1s",
                "timeout: a message may take 1s500ms (3 attempts of 500ms), and a stopping pod has 1s to finish",
            ),
            ("", "  drain: 0s", "timeout: a message may take 30s (one attempt), and a stopping pod has 0s to finish"),
        ] {
            let warnings = warned(component, spec);
            assert_eq!(warnings.len(), 1, "{component} {spec}: {warnings:#?}");
            assert!(warnings[0].starts_with(&format!("spec.components[0].{expected}")), "{component} {spec}: {warnings:#?}");
        }
    }

    #[test]
    fn settings_of_dispatch_that_go_well_together_need_no_word() {
        for (component, spec) in [
            ("", ""),
            (", timeout: 30s, instances: {warm: 8, maxReuse: 1}, queue: {maxBytes: 8Mi}", ""),
            (", retry: {maxAttempts: 3}, deadLetter: {stream: dead}, timeout: 10s", ""),
            (", retry: {maxAttempts: 100}, deadLetter: {stream: dead}", "  drain: 50m"),
            (", queue: {maxBytes: 64Ki}", "  trigger: {maxMessageBytes: 64Ki}"),
        ] {
            assert_eq!(warned(component, spec), [""; 0], "{component} {spec}");
        }
    }
}
