//! One read of the runtime's metrics, and the equation that must hold in it.

/// The samples of one read.
pub struct Metrics {
    samples: Vec<(String, f64)>,
}

impl Metrics {
    /// Reads the text format; labels are not told apart. Lines may be those of chunks and comments: only samples count.
    pub fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| line.starts_with("spinredis_")).filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let name = series.split('{').next()?;
            Some((name.to_owned(), value.parse().ok()?))
        });
        Self { samples: samples.collect() }
    }

    /// The sum of a metric over all its series, 0 when there is none: `messages_received_total`.
    pub fn sum(&self, name: &str) -> f64 {
        let full = |sample: &&(String, f64)| sample.0.strip_prefix("spinredis_") == Some(name);
        self.samples.iter().filter(full).map(|(_, value)| value).sum()
    }

    /// By how many messages received differs from handled + failed + dropped + queued + retrying + in flight: always 0.
    pub fn unaccounted(&self) -> f64 {
        let ends = ["messages_handled_total", "messages_failed_total", "messages_dropped_total"];
        let places = ["messages_queued", "messages_retrying", "messages_in_flight"];
        let known: f64 = ends.iter().chain(&places).map(|name| self.sum(name)).sum();
        (self.sum("messages_received_total") - known).abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# TYPE spinredis_messages_received counter
spinredis_messages_received_total{component=\"a\",subscription=\"b c\"} 10
spinredis_messages_received_total{component=\"d\",subscription=\"e\"} 5
spinredis_messages_handled_total{component=\"a\",subscription=\"b c\"} 4
spinredis_messages_dropped_total{component=\"a\",subscription=\"b c\",reason=\"queue_full\"} 3
spinredis_messages_queued{component=\"a\",subscription=\"b c\"} 6
spinredis_messages_in_flight{component=\"a\",subscription=\"b c\"} 1
spinredis_subscribed 1
# EOF";

    #[test]
    fn series_of_one_metric_are_summed() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(metrics.sum("messages_received_total"), 15.0);
        assert_eq!(metrics.sum("subscribed"), 1.0);
        assert_eq!(metrics.sum("messages_received"), 0.0);
    }

    #[test]
    fn a_message_that_is_nowhere_is_seen() {
        assert_eq!(Metrics::parse(TEXT).unaccounted(), 1.0);
        assert_eq!(Metrics::parse(&TEXT.replace("_in_flight{component=\"a\",subscription=\"b c\"} 1", "_in_flight 2")).unaccounted(), 0.0);
    }
}
