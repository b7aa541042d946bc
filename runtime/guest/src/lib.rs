//! One component: how it is compiled, what it may use, and how it is called for a message.
//!
//! | stage | module |
//! |---|---|
//! | find the handler, compile ahead of time, map the result | [`compile`] |
//! | read Secrets and ConfigMap keys | [`references`] |
//! | open connections to Redis | [`connect`] |
//! | answer what a guest calls | [`host`] |
//! | call the handler within its limits | [`call`] |
//!
//! A crate of its own because everything that is generic over a guest's store is compiled here, which takes minutes; the
//! program around it, which changes more often, then takes seconds.
#![deny(unsafe_code)]

pub mod call;
pub mod compile;
pub mod connect;
pub mod host;
pub mod references;
