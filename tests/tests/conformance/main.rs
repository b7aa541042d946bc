//! What the host gives to guests, function by function, value by value and error by error: the guests `conformance-sync` and
//! `conformance-async` make the calls that a message asks for (tests/guests/README.md) and print what they were answered.

mod calls;
mod config;
mod environment;
mod http;
mod key_value;
mod keyvalue;
mod network;
mod redis;
mod server;
mod sockets;
mod stubs;
mod variables;
