//! What a guest finds when it starts: environment variables, arguments, output; no files and no network.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use spinredis_crds::Component as ComponentSpec;
use wasmtime_wasi::WasiCtx;

use super::output::{Output, Stream};
use crate::references::{ReferenceError, References};

/// How long values from files are used before they are read again.
const FRESH_FOR: Duration = Duration::from_secs(1);

type Variables = Arc<Vec<(String, String)>>;

/// Environment variables and arguments of a component.
pub(super) struct Environment {
    spec: ComponentSpec,
    references: Arc<References>,
    has_references: bool,
    cached: Mutex<Option<(Instant, Variables)>>,
}

impl Environment {
    pub(super) fn new(spec: &ComponentSpec, references: Arc<References>) -> Self {
        let has_references = spec.env.iter().any(|variable| variable.value_from.is_some());
        Self { spec: spec.clone(), references, has_references, cached: Mutex::new(None) }
    }

    /// A WASI context for one call.
    pub(super) fn wasi(&self, output: &Output) -> Result<WasiCtx, ReferenceError> {
        let mut wasi = WasiCtx::builder();
        wasi.stdout(output.stream(Stream::Stdout)).stderr(output.stream(Stream::Stderr));
        wasi.envs(&self.variables()?);
        // A program's first argument is its own name.
        wasi.arg(&self.spec.id).args(&self.spec.args);
        wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
        Ok(wasi.build())
    }

    /// The variables, from memory when they were read a moment ago.
    fn variables(&self) -> Result<Variables, ReferenceError> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, variables)) = &*cached
            && (!self.has_references || read.elapsed() < FRESH_FOR)
        {
            return Ok(variables.clone());
        }
        let variables: Variables = Arc::new(self.read()?);
        *cached = Some((Instant::now(), variables.clone()));
        Ok(variables)
    }

    fn read(&self) -> Result<Vec<(String, String)>, ReferenceError> {
        let value = |variable: &spinredis_crds::EnvVar| match variable.value_from.as_ref().and_then(|from| from.reference()) {
            Some(reference) => self.references.text(&reference),
            None => Ok(variable.value.clone().unwrap_or_default()),
        };
        self.spec.env.iter().map(|variable| Ok((variable.name.clone(), value(variable)?))).collect()
    }
}
