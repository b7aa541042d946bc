//! The runtime: calls a WebAssembly component for each message on its Redis channels.
//!
//! One module for each stage, in the order a message or a component meets them:
//!
//! | stage | module |
//! |---|---|
//! | fetch a component | [`source`] |
//! | take a whole Spin app apart | [`application`] |
//! | plan, compile and check all components | [`prepare`] |
//! | subscribe and receive | [`redis`] |
//! | wait for a turn, be counted | [`queue`] |
//! | take from the queue, call | [`dispatch`] |
//! | keep what failed for good | [`dead_letters`] |
//! | tell how it goes | [`health`], [`report`], [`telemetry`] |
//!
//! [`app`] puts them together for one app, and [`commands`] starts what a person asks for; [`describe`] is what `check` says of a component,
//! and [`import`] makes SpinRedisApps of Spin manifests. What concerns one component, from its code to a call of its handler,
//! is in the crate [`spinredis_guest`].
#![forbid(unsafe_code)]

pub mod app;
pub mod application;
pub mod cli;
pub mod commands;
pub mod dead_letters;
pub mod describe;
pub mod dispatch;
pub mod health;
pub mod import;
pub mod prepare;
pub mod queue;
pub mod redis;
pub mod report;
pub mod sharing;
pub mod source;
pub mod telemetry;

pub use spinredis_guest::{call, compile, connect, host, references};
