//! The runtime: calls a WebAssembly component for each message on its Redis channels.
//!
//! One module for each stage, in the order a message or a component meets them:
//!
//! | stage | module |
//! |---|---|
//! | fetch a component | [`source`] |
//! | take a whole Spin app apart | [`application`] |
//! | inspect and compile it | [`compile`] |
//! | read Secrets and ConfigMap keys | [`references`] |
//! | connect, subscribe, receive | [`redis`] |
//! | wait for a turn, be counted | [`queue`] |
//! | take from the queue, call | [`dispatch`] |
//! | run the handler in a fresh instance | [`guest`] |
//! | answer what the guest calls | [`host`] |
//! | tell how it goes | [`health`], [`telemetry`] |
//!
//! [`commands`] puts them together for `prepare`, `serve`, `run` and `check`; [`describe`] is what `check` says of a component,
//! and [`import`] makes SpinRedisApps of Spin manifests.
#![deny(unsafe_code)]

pub mod application;
pub mod cli;
pub mod commands;
pub mod compile;
pub mod describe;
pub mod dispatch;
pub mod guest;
pub mod health;
pub mod host;
pub mod import;
pub mod queue;
pub mod redis;
pub mod references;
pub mod source;
pub mod telemetry;
