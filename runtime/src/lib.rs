//! The runtime: calls a WebAssembly component for each message on its Redis channels.
//!
//! One module for each stage, in the order a message or a component meets them:
//!
//! | stage | module |
//! |---|---|
//! | fetch a component | [`source`] |
//! | inspect and compile it | [`compile`] |
//! | read Secrets and ConfigMap keys | [`references`] |
//! | connect, subscribe, receive | [`redis`] |
//! | wait for a turn, be counted | [`queue`] |
//! | take from the queue, call | [`dispatch`] |
//! | run the handler in a fresh instance | [`guest`] |
//! | tell how it goes | [`health`], [`telemetry`] |
//!
//! [`commands`] puts them together for `prepare`, `serve`, `run` and `check`.
#![deny(unsafe_code)]

pub mod cli;
pub mod commands;
pub mod compile;
pub mod dispatch;
pub mod guest;
pub mod health;
pub mod queue;
pub mod redis;
pub mod references;
pub mod source;
pub mod telemetry;
