//! The product as its users meet it: installed with Helm on a real Kubernetes, driven with kubectl, with a real Redis and
//! real registries. See `spinredis_tests::kubernetes` for what is set up and what stays.

mod answers;
mod api;
mod application;
mod causes;
mod chart;
mod gitops;
mod manifests;
mod measure;
mod operator;
mod ownership;
mod pins;
mod policies;
mod redis;
mod references;
mod rollout;
mod secrecy;
mod sharing;
mod sources;
mod usability;
