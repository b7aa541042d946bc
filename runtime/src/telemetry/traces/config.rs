//! The environment variables that turn traces on, as OpenTelemetry defines them for every program.
//!
//! Read: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, `OTEL_EXPORTER_OTLP_ENDPOINT`, `…_HEADERS`, `…_TIMEOUT`, `…_PROTOCOL`,
//! `OTEL_TRACES_SAMPLER`, `OTEL_TRACES_SAMPLER_ARG`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_EXPORTER` and
//! `OTEL_SDK_DISABLED`. See opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables and …/protocol/exporter.

use std::time::Duration;

use percent_encoding::percent_decode_str;

/// How long the collector may take to answer, unless the environment says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
const BASE_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const SAMPLER: &str = "OTEL_TRACES_SAMPLER";

/// Why there are no traces although the environment asks for them.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TraceConfigError {
    /// The endpoint is no URL.
    #[error("{variable}={value}: write a URL such as http://otel-collector.observability:4318")]
    Endpoint {
        /// Which variable.
        variable: &'static str,
        /// As given.
        value: String,
    },
    /// Another protocol.
    #[error("OTEL_EXPORTER_OTLP_PROTOCOL={0}: only http/protobuf is spoken here; name the collector's HTTP port, which is usually 4318")]
    Protocol(String),
    /// Another exporter.
    #[error("OTEL_TRACES_EXPORTER={0}: only otlp and none are known here")]
    Exporter(String),
    /// Another sampler.
    #[error("{SAMPLER}={0}: use always_on, always_off or traceidratio (parentbased_… mean the same: no message has a parent)")]
    Sampler(String),
    /// A ratio that is none.
    #[error("OTEL_TRACES_SAMPLER_ARG={0}: write a number from 0 to 1, such as 0.01 for one message in a hundred")]
    Ratio(String),
    /// Something that is not a list of KEY=VALUE.
    #[error("{variable}: write KEY=VALUE,KEY=VALUE with percent-encoded values")]
    Pairs {
        /// Which variable; its value may be a secret.
        variable: &'static str,
    },
    /// A time that is none.
    #[error("OTEL_EXPORTER_OTLP_TIMEOUT={0}: write milliseconds, such as 10000")]
    Timeout(String),
}

/// What the environment asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceConfig {
    /// Where spans go, with its path.
    pub endpoint: String,
    /// Headers of each request; may hold secrets.
    pub headers: Vec<(String, String)>,
    /// How long the collector may take to answer.
    pub timeout: Duration,
    /// Which share of the messages is traced, from 0 to 1.
    pub sampler: f64,
    /// Name of the service; the app's own unless given.
    pub service_name: Option<String>,
    /// Further attributes of the resource.
    pub resource: Vec<(String, String)>,
}

impl TraceConfig {
    /// Reads the environment through `variable`; `None` when it asks for no traces.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, TraceConfigError> {
        // An empty variable is as good as none, says the specification.
        let variable = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let either =
            |name: &str| variable(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}")).or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")));
        if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        match variable("OTEL_TRACES_EXPORTER").as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(other) => return Err(TraceConfigError::Exporter(other.to_owned())),
        }
        let endpoint = match (variable(ENDPOINT), variable(BASE_ENDPOINT)) {
            (Some(endpoint), _) => url(ENDPOINT, endpoint)?,
            (None, Some(base)) => format!("{}/v1/traces", url(BASE_ENDPOINT, base)?.trim_end_matches('/')),
            (None, None) => return Ok(None),
        };
        if let Some(other) = either("PROTOCOL").filter(|protocol| protocol != "http/protobuf") {
            return Err(TraceConfigError::Protocol(other));
        }
        let ratio = || {
            let text = variable("OTEL_TRACES_SAMPLER_ARG").unwrap_or_else(|| "1".to_owned());
            let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
            ratio.ok_or(TraceConfigError::Ratio(text))
        };
        let sampler = match variable(SAMPLER).as_deref() {
            None | Some("always_on" | "parentbased_always_on") => 1.0,
            Some("always_off" | "parentbased_always_off") => return Ok(None),
            Some("traceidratio" | "parentbased_traceidratio") => ratio()?,
            Some(other) => return Err(TraceConfigError::Sampler(other.to_owned())),
        };
        let timeout = match either("TIMEOUT") {
            None => TIMEOUT,
            Some(text) => Duration::from_millis(text.parse().map_err(|_| TraceConfigError::Timeout(text))?),
        };
        Ok(Some(Self {
            endpoint,
            headers: pairs("OTEL_EXPORTER_OTLP_HEADERS", either("HEADERS"))?,
            timeout,
            sampler,
            service_name: variable("OTEL_SERVICE_NAME"),
            resource: pairs("OTEL_RESOURCE_ATTRIBUTES", variable("OTEL_RESOURCE_ATTRIBUTES"))?,
        }))
    }
}

fn url(variable: &'static str, value: String) -> Result<String, TraceConfigError> {
    let is_url = reqwest::Url::parse(&value).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    if is_url { Ok(value) } else { Err(TraceConfigError::Endpoint { variable, value }) }
}

fn pairs(variable: &'static str, text: Option<String>) -> Result<Vec<(String, String)>, TraceConfigError> {
    let text = text.unwrap_or_default();
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    entries
        .map(|entry| {
            let (key, value) =
                entry.split_once('=').filter(|(key, _)| !key.trim().is_empty()).ok_or(TraceConfigError::Pairs { variable })?;
            let value = percent_decode_str(value.trim()).decode_utf8().map_err(|_| TraceConfigError::Pairs { variable })?;
            Ok((key.trim().to_owned(), value.into_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Option<TraceConfig>, TraceConfigError> {
        TraceConfig::read(|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    fn endpoint(variables: &[(&str, &str)]) -> Option<String> {
        read(variables).unwrap().map(|config| config.endpoint)
    }

    #[test]
    fn nothing_is_sent_unless_the_environment_names_a_collector() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&[(SAMPLER, "always_on"), ("OTEL_SERVICE_NAME", "a"), (ENDPOINT, " ")]), Ok(None));
        for off in [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none"), (SAMPLER, "always_off")] {
            assert_eq!(read(&[(ENDPOINT, "http://c:4318/x"), off]), Ok(None), "{off:?}");
        }
    }

    #[test]
    fn the_endpoint_of_traces_is_taken_as_it_is_and_the_common_one_gets_a_path() {
        assert_eq!(endpoint(&[(BASE_ENDPOINT, "http://c:4318")]).as_deref(), Some("http://c:4318/v1/traces"));
        assert_eq!(endpoint(&[(BASE_ENDPOINT, "https://c/otlp/")]).as_deref(), Some("https://c/otlp/v1/traces"));
        assert_eq!(endpoint(&[(BASE_ENDPOINT, "http://c"), (ENDPOINT, "http://t/x")]).as_deref(), Some("http://t/x"));
    }

    #[test]
    fn headers_are_decoded_and_the_more_special_variable_wins() {
        let config = read(&[
            (ENDPOINT, "http://c/"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc%3D, x-a = 1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1500"),
            (SAMPLER, "parentbased_traceidratio"),
            ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
        ]);
        let config = config.unwrap().unwrap();
        assert_eq!(config.headers, [("authorization".into(), "Bearer abc=".into()), ("x-a".into(), "1".into())]);
        assert_eq!((config.timeout, config.sampler), (Duration::from_millis(1500), 0.25));
    }

    #[test]
    fn what_cannot_be_done_is_said_and_no_header_is_repeated() {
        let wrong = |name, value| read(&[(ENDPOINT, "http://c/"), (name, value)]).unwrap_err().to_string();
        assert!(wrong("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc").contains("4318"));
        assert!(wrong(SAMPLER, "jaeger_remote").contains("traceidratio"));
        assert!(wrong("OTEL_TRACES_EXPORTER", "zipkin").contains("otlp"));
        assert!(!wrong("OTEL_EXPORTER_OTLP_HEADERS", "s3cret").contains("s3cret"));
        assert!(read(&[(ENDPOINT, "c:4318")]).unwrap_err().to_string().contains("http://"));
        assert!(read(&[(ENDPOINT, "http://c/"), (SAMPLER, "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "2")]).is_err());
    }
}
