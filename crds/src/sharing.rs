//! What several replicas do with one message, and how those that share messages watch over each other.

use std::time::Duration;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    app::SpinRedisAppSpec,
    defaults::{BEATS_UNTIL_EXPIRY, SHARING_BEAT, SHARING_EXPIRY, SHARING_RING_BYTES},
    duration,
    manifest::ManifestSpec,
    quantity,
};

/// Environment variable of the serve container of an app whose replicas share messages: what they sign with what they tell each
/// other through Redis, so that nobody else who may publish there is taken for one of them.
pub const GROUP_KEY_VARIABLE: &str = "SPINREDIS_GROUP_KEY";

/// What several replicas do with one message. Shared: one of them handles it, although Redis pub/sub delivers it to all.
/// EachReplica: every one of them handles it. Without it messages are shared as soon as replicas is above 1, and scaling
/// from 1 to several replaces the pods: set it where something scales the app, such as an autoscaler.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// One replica handles the message.
    Shared,
    /// Every replica handles the message, as Redis pub/sub delivers it.
    #[default]
    EachReplica,
}

impl Delivery {
    /// Whether one replica handles each message.
    pub fn is_shared(self) -> bool {
        self == Self::Shared
    }

    /// Whether every replica handles each message.
    pub fn is_each_replica(&self) -> bool {
        *self == Self::EachReplica
    }
}

/// How replicas that share messages watch over each other.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
// CEL cannot multiply a duration. What is no duration at all has the pattern's message already.
#[x_kube(validation = Rule::new(
    "!has(self.beat) || !has(self.expiry) || !self.beat.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || !self.expiry.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || duration(self.beat) + duration(self.beat) + duration(self.beat) <= duration(self.expiry)")
    .field_path(".expiry").message("expiry must be at least three times beat, so that one beat that comes late loses no replica its place"))]
pub struct Sharing {
    /// How often a replica tells the others, through Redis, that it is there and how far it has come. After a crash the
    /// messages that it finished since are handled again. Default 200ms, or a fifth of expiry where that is less; between 50ms
    /// and 5s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    #[x_kube(validation = Rule::new(
        "!self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || (duration(self) >= duration('50ms') && duration(self) <= duration('5s'))")
        .message("beat must be between 50ms and 5s"))]
    pub beat: Option<String>,
    /// After how long without a word the others take over what a replica has not finished. Default 1s, or five times beat where
    /// that is more; between 300ms and 1m, and at least three times beat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 32), regex(pattern = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"))]
    #[x_kube(validation = Rule::new(
        "!self.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || (duration(self) >= duration('300ms') && duration(self) <= duration('1m'))")
        .message("expiry must be between 300ms and 1m"))]
    pub expiry: Option<String>,
    /// Bytes of others' messages that a replica keeps, for each Redis server, until they are finished: what it can take over. A
    /// quantity. Default 16Mi; between 1Mi and 1Gi. It is memory of each pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[0-9]+([.][0-9]+)?(Ki|Mi|Gi|k|M|G)?$"))]
    #[x_kube(validation = Rule::new(
        "isQuantity(self) && quantity(self).compareTo(quantity('1Mi')) >= 0 && quantity(self).compareTo(quantity('1Gi')) <= 0")
        .message("ringBytes must be between 1Mi and 1Gi, for example 16Mi"))]
    pub ring_bytes: Option<String>,
}

/// The settings of [`Sharing`] with the defaults filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharingLimits {
    /// How often a replica tells the others that it is there.
    pub beat: Duration,
    /// After how long without a word it is taken for lost.
    pub expiry: Duration,
    /// Bytes of others' messages that it keeps for each Redis server.
    pub ring_bytes: u64,
}

impl SharingLimits {
    /// A value that cannot be read counts as absent: the API server and [`check`](crate::check) refuse it before.
    pub fn of(sharing: Option<&Sharing>) -> Self {
        let time = |text: Option<&String>| text.and_then(|text| duration::parse(text).ok());
        let beat = time(sharing.and_then(|sharing| sharing.beat.as_ref()));
        let expiry = time(sharing.and_then(|sharing| sharing.expiry.as_ref()));
        let ring_bytes = sharing.and_then(|sharing| quantity::bytes(sharing.ring_bytes.as_deref()?).ok());
        Self {
            // The one that is given moves the default of the other, so that an expiry is always several beats.
            beat: beat.unwrap_or(expiry.map_or(SHARING_BEAT, |expiry| SHARING_BEAT.min(expiry / BEATS_UNTIL_EXPIRY))),
            expiry: expiry.unwrap_or(beat.map_or(SHARING_EXPIRY, |beat| SHARING_EXPIRY.max(beat * BEATS_UNTIL_EXPIRY))),
            ring_bytes: ring_bytes.unwrap_or(SHARING_RING_BYTES),
        }
    }
}

impl SpinRedisAppSpec {
    /// What the replicas do with one message. An app that does not say shares its messages as soon as it has several.
    pub fn effective_delivery(&self) -> Delivery {
        self.delivery.unwrap_or(if self.replicas > 1 { Delivery::Shared } else { Delivery::EachReplica })
    }
}

impl ManifestSpec {
    /// How replicas that share messages watch over each other.
    pub fn sharing(&self) -> SharingLimits {
        SharingLimits::of(self.sharing.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifest;

    fn limits(beat: Option<&str>, expiry: Option<&str>) -> (u64, u64) {
        let sharing = Sharing { beat: beat.map(str::to_owned), expiry: expiry.map(str::to_owned), ring_bytes: None };
        let limits = SharingLimits::of(Some(&sharing));
        (limits.beat.as_millis() as u64, limits.expiry.as_millis() as u64)
    }

    #[test]
    fn an_expiry_is_several_beats_whichever_of_the_two_is_left_to_its_default() {
        assert_eq!(limits(None, None), (200, 1000));
        assert_eq!(limits(Some("50ms"), None), (50, 1000));
        assert_eq!(limits(Some("5s"), None), (5000, 25_000));
        assert_eq!(limits(None, Some("300ms")), (60, 300));
        assert_eq!(limits(None, Some("1m")), (200, 60_000));
        assert_eq!(limits(Some("100ms"), Some("300ms")), (100, 300));
    }

    #[test]
    fn what_is_absent_has_its_default() {
        let defaults = SharingLimits { beat: SHARING_BEAT, expiry: SHARING_EXPIRY, ring_bytes: 16 << 20 };
        assert_eq!(SharingLimits::of(None), defaults);
        let ring = Sharing { ring_bytes: Some("1Gi".to_owned()), ..Sharing::default() };
        assert_eq!(SharingLimits::of(Some(&ring)), SharingLimits { ring_bytes: 1 << 30, ..defaults });
    }

    /// The app with these lines in its spec, as the API server gives it.
    fn spec(lines: &str) -> SpinRedisAppSpec {
        serde_saphyr::from_str(&format!("trigger: {{address: 'redis://redis'}}\ncomponents: []\n{lines}")).unwrap()
    }

    #[test]
    fn messages_are_shared_by_several_replicas_and_by_any_number_that_asks_for_it() {
        for (lines, shared) in [
            ("", false),
            ("replicas: 0", false),
            ("replicas: 1", false),
            ("replicas: 2", true),
            ("replicas: 3\ndelivery: EachReplica", false),
            ("replicas: 3\ndelivery: Shared", true),
            ("replicas: 1\ndelivery: Shared", true),
            ("replicas: 0\ndelivery: Shared", true),
        ] {
            let spec = spec(lines);
            assert_eq!(spec.effective_delivery().is_shared(), shared, "{lines}");
            assert_eq!(ManifestSpec::of(&spec).delivery.is_shared(), shared, "{lines}");
        }
    }

    #[test]
    fn the_manifest_names_delivery_and_sharing_only_where_messages_are_shared() {
        let written = |lines: &str| {
            let text = serde_json::to_string(&ManifestSpec::of(&spec(lines))).unwrap();
            (text.contains("delivery"), text.contains("ringBytes"))
        };
        assert_eq!(written("sharing: {ringBytes: 1Mi}"), (false, false));
        assert_eq!(written("replicas: 3\ndelivery: EachReplica"), (false, false));
        assert_eq!(written("replicas: 3"), (true, false));
        assert_eq!(written("replicas: 3\nsharing: {ringBytes: 1Mi}"), (true, true));
    }

    #[test]
    fn the_runtime_reads_what_the_operator_wrote() {
        let app = "{apiVersion: spinredis.dev/v1alpha1, kind: SpinRedisApp, metadata: {name: a}, spec: SPEC}";
        let manifest = |spec: &str| Manifest::parse(&app.replace("SPEC", spec)).unwrap();
        let shared = manifest("{delivery: Shared, sharing: {beat: 1s, expiry: 10s, ringBytes: 2Mi}}");
        assert_eq!(Manifest::parse(&shared.to_canonical_text()).unwrap(), shared);
        let (seconds, spec) = (Duration::from_secs, shared.spec);
        assert!(spec.delivery.is_shared());
        assert_eq!(spec.sharing(), SharingLimits { beat: seconds(1), expiry: seconds(10), ring_bytes: 2 << 20 });
        assert!(manifest("{}").spec.delivery.is_each_replica());
    }
}
