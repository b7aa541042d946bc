//! What the tests stand on: real programs, started on free ports and stopped when a test ends.
//!
//! Nothing is mocked. A test waits for conditions ([`wait`]) and never for time to pass; when a condition does not come
//! true, the failure shows what the program at the other end printed.

pub mod app;
pub mod cgroup;
pub mod chart;
pub mod clock;
pub mod collector;
pub mod control_plane;
pub mod gitops;
pub mod guests;
pub mod http;
pub mod kubelet;
pub mod kubernetes;
pub mod load;
pub mod manifests;
pub mod metrics;
pub mod ports;
pub mod process;
pub mod proxy;
pub mod redis;
pub mod registry;
pub mod resp;
pub mod runtime;
pub mod tls;
pub mod wait;
pub mod watch;
