//! The operator against a real API server that fails, is slow, or loses it at the worst moment: with the operator in this
//! process, a layer over its client, the controllers of Kubernetes, and no nodes (pods are said to run).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod election;
mod faults;
mod hanging;
mod killed;
mod new;
mod restart;
mod restored;
mod sharing;
mod stopping;
mod storms;
mod uncollected;
mod unreadable;
mod world;
