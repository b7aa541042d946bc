//! Replicas that share plain channels: each message handled once, by one of them, whatever happens to the others and to Redis. Real
//! processes and a real Redis; every message has a number, and the accounts are exact.

mod chaos;
mod cost;
mod crash;
mod redis_faults;
mod refusals;
mod replicas;
mod resources;
mod scale;
mod servers;
