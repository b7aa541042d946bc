//! Makes runnable code of a component: finds its handler, compiles it ahead of time, and keeps the result by content.
//!
//! `prepare` runs everything here; `serve` only maps what [`artifact`] left behind.

pub mod artifact;
pub mod engine;
pub mod handler;
pub mod prepare;
