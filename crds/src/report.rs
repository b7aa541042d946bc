//! What the runtime tells the operator: the termination message of `prepare` and the answer to `GET /status` of `serve`.
//!
//! Both end up as text that a person reads in `kubectl describe`, so each carries a [`Reason`] from one fixed list and a
//! sentence that says what happened, to what, and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    manifest::ManifestSpec,
    pins::{Pins, open_references, shortened},
};

/// The kubelet keeps the last 4,096 bytes of a termination message; this leaves room.
pub const MAX_REPORT_BYTES: usize = 4_000;

/// Why an app is not ready. The names appear in conditions, events and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// Nothing is wrong; it is under way.
    Progressing,
    /// The manifest cannot work as it is.
    Invalid,
    /// An image's digest is not the one the manifest asks for.
    DigestMismatch,
    /// A component exports no Redis handler, or two.
    NoHandler,
    /// A component imports an interface that the runtime does not have.
    UnsupportedImport,
    /// A child's name is taken by an object of somebody else.
    NameConflict,
    /// Whoever runs the operator does not permit an image that the manifest names.
    SourceNotAllowed,
    /// The cluster refuses the pods: pod security, quota, or an invalid pod.
    PodRejected,
    /// Redis cannot be reached.
    RedisUnreachable,
    /// Redis refuses the user or password.
    RedisAuthFailed,
    /// Redis refuses the subscription for want of a permission.
    RedisPermission,
    /// A Secret, a ConfigMap or a key of one does not exist.
    MissingReference,
    /// A registry cannot be reached or refuses the image.
    RegistryError,
    /// No node takes the pod.
    Unschedulable,
    /// A component could not be prepared for another cause.
    PrepareFailed,
    /// The runtime container cannot start or keeps ending.
    RuntimeFailed,
    /// The image of the runtime cannot be pulled.
    ImagePullFailed,
    /// Nothing has moved for ten minutes.
    NoProgress,
    /// All replicas are subscribed.
    Subscribed,
    /// The app has no replicas and wants none.
    ScaledToZero,
}

impl Reason {
    /// The name, as in a condition's `reason`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Progressing => "Progressing",
            Reason::Invalid => "Invalid",
            Reason::DigestMismatch => "DigestMismatch",
            Reason::NoHandler => "NoHandler",
            Reason::UnsupportedImport => "UnsupportedImport",
            Reason::NameConflict => "NameConflict",
            Reason::SourceNotAllowed => "SourceNotAllowed",
            Reason::PodRejected => "PodRejected",
            Reason::RedisUnreachable => "RedisUnreachable",
            Reason::RedisAuthFailed => "RedisAuthFailed",
            Reason::RedisPermission => "RedisPermission",
            Reason::MissingReference => "MissingReference",
            Reason::RegistryError => "RegistryError",
            Reason::Unschedulable => "Unschedulable",
            Reason::PrepareFailed => "PrepareFailed",
            Reason::RuntimeFailed => "RuntimeFailed",
            Reason::ImagePullFailed => "ImagePullFailed",
            Reason::NoProgress => "NoProgress",
            Reason::Subscribed => "Subscribed",
            Reason::ScaledToZero => "ScaledToZero",
        }
    }

    /// Whether only an edit of the app helps; everything else may pass by itself and is retried.
    pub fn is_stalled(self) -> bool {
        matches!(
            self,
            Reason::Invalid
                | Reason::DigestMismatch
                | Reason::NoHandler
                | Reason::UnsupportedImport
                | Reason::NameConflict
                | Reason::SourceNotAllowed
                | Reason::PodRejected
                | Reason::NoProgress
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What went wrong, in a form a person can act on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// One of the fixed list.
    pub reason: Reason,
    /// What happened, to what, and what to do.
    pub message: String,
}

/// One component as `prepare` found it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreparedComponent {
    /// Id of the component in the manifest.
    pub id: String,
    /// Digest of the image manifest, or of the bytes of a ConfigMap key.
    pub digest: String,
    /// The interface through which it is called.
    pub handler: String,
}

/// The termination message of `prepare`, on success and on failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PrepareReport {
    /// The components that were prepared.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<PreparedComponent>,
    /// The digests of the manifest's open references in their order, in short form (see [`pins`](crate::pins)). Only written
    /// when not all components fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Vec<String>>,
    /// Why `prepare` failed; absent on success.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

impl PrepareReport {
    /// Notes what the open references of the manifest turned out to be, once all components are known.
    pub fn resolve(&mut self, spec: &ManifestSpec) {
        let found = Pins::reported(spec, self);
        let digests: Option<Vec<String>> =
            open_references(spec).into_iter().map(|name| found.0.get(name).map(|it| shortened(it))).collect();
        self.resolved = digests;
    }

    /// Compact JSON of at most [`MAX_REPORT_BYTES`]. An over-long message is cut, then components are left out from the
    /// end, but never what their references turned out to be: a report is always JSON.
    pub fn to_json(&self) -> String {
        let mut report = Self { resolved: None, ..self.clone() };
        match serde_json::to_string(&report) {
            Ok(json) if json.len() <= MAX_REPORT_BYTES => return json,
            _ => report.resolved = self.resolved.clone(),
        }
        loop {
            let json = serde_json::to_string(&report).unwrap_or_else(|_| "{}".to_owned());
            if json.len() <= MAX_REPORT_BYTES {
                return json;
            }
            match &mut report.problem {
                Some(problem) if problem.message.len() > 512 => problem.message = shorten(&problem.message, problem.message.len() / 2),
                _ if report.components.pop().is_some() => {}
                _ => return "{}".to_owned(),
            }
        }
    }
}

/// Cuts a text to at most `bytes`, at a character, and says so with an ellipsis.
pub fn shorten(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let mut end = bytes.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &text[..end])
}

/// The answer of `serve` to `GET /status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServeStatus {
    /// Namespace and name of the app.
    pub app: String,
    /// Whether every subscription is acknowledged.
    pub ready: bool,
    /// Channels and patterns that Redis has acknowledged.
    pub subscribed: usize,
    /// Channels and patterns that the app asks for.
    pub wanted: usize,
    /// Why it is not ready, or `Subscribed`.
    pub reason: Reason,
    /// What happened, to what, and what to do.
    pub message: String,
    /// Since when, in seconds since 1970-01-01T00:00:00Z.
    pub since: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_never_exceeds_what_the_kubelet_keeps() {
        let component = PreparedComponent { id: "c".repeat(63), digest: "d".repeat(71), handler: "h".repeat(40) };
        let report = PrepareReport {
            components: vec![component; 64],
            resolved: None,
            problem: Some(Problem { reason: Reason::RegistryError, message: "ü\"".repeat(5_000) }),
        };
        let json = report.to_json();
        assert!(json.len() <= MAX_REPORT_BYTES, "{}", json.len());
        let read: PrepareReport = serde_json::from_str(&json).unwrap();
        assert_eq!(read.problem.unwrap().reason, Reason::RegistryError);
    }

    #[test]
    fn a_reason_is_written_as_it_is_displayed() {
        assert_eq!(serde_json::to_string(&Reason::NoHandler).unwrap(), format!("\"{}\"", Reason::NoHandler));
    }
}
