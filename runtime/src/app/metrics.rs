//! Tells the metrics where to read everything that an app counts.

use std::sync::Arc;

use crate::{
    compile::artifact::Index,
    dispatch::Dispatcher,
    redis::servers::Servers,
    sharing::Sharing,
    telemetry::{
        log,
        metrics::{Component, Connections, DeadLetters, Metrics, Process, Sources},
        traces::Traces,
    },
};

/// The metrics of an app. `dispatchers` and the index's components are in the same order.
pub fn metrics(dispatchers: &[Arc<Dispatcher>], index: &Index, servers: Servers, groups: Vec<Arc<Sharing>>, traces: Traces) -> Metrics {
    let components = dispatchers.iter().zip(&index.components).map(|(dispatcher, entry)| component(dispatcher, entry.component.limits()));
    Metrics::new(Sources {
        components: components.collect(),
        connections: Box::new(move || connections(&servers)),
        groups: Box::new(move || groups.iter().map(|group| group.numbers()).collect()),
        process: Box::new(move || Process { log_lines_dropped: log::dropped_lines(), spans_dropped: traces.dropped() }),
    })
}

fn component(dispatcher: &Arc<Dispatcher>, limits: spinredis_crds::defaults::Limits) -> Component {
    let dead_letters = dispatcher.dead_letters.clone().map(|letters| {
        let read: Box<dyn Fn() -> DeadLetters + Send + Sync> = Box::new(move || {
            let counts = letters.counts();
            DeadLetters {
                written: counts.written,
                lost: counts.lost,
                write_failures: counts.write_failures,
                pending: counts.pending as u64,
                stream_length: counts.stream_length,
            }
        });
        read
    });
    Component {
        queue: dispatcher.queue.clone(),
        limits,
        times: dispatcher.times.clone(),
        instances: dispatcher.handler.instances(),
        dead_letters,
    }
}

fn connections(servers: &Servers) -> Connections {
    Connections {
        subscribed: servers.is_ready(),
        reconnects: servers.reconnects(),
        outage: servers.outage(),
        failures: servers.failures().map(|(failure, count)| (failure.as_str(), count)).collect(),
    }
}
