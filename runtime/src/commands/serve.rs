//! `spinredis serve`: subscribe, call, and drain when asked to stop.

use std::{path::Path, sync::Arc};

use spinredis_crds::manifest::Manifest;

use super::{CommandError, read_manifest};
use crate::{
    app::{App, StopSignals, Threads},
    cli::ServeArgs,
    health,
    references::References,
};

pub(super) fn run(args: &ServeArgs) -> Result<(), CommandError> {
    let manifest =
        read_manifest(&args.app)?.manifest().map_err(|error| CommandError::Manifest { path: args.app.display().to_string(), error })?;
    serve(&manifest, References::directory(&args.refs), &args.components, args.listen.as_deref())
}

/// Serves prepared components until SIGTERM or SIGINT, and then drains.
pub(super) fn serve(manifest: &Manifest, references: References, components: &Path, listen: Option<&str>) -> Result<(), CommandError> {
    let system = |what| move |error: std::io::Error| CommandError::System { what, error: error.to_string() };
    let threads = Threads::start().map_err(system("starting threads"))?;
    // From the very beginning: a pod may be told to stop while it still loads.
    let signals = {
        let _entered = threads.control.enter();
        StopSignals::listen().map_err(system("listening for signals"))?
    };
    let listener = listen.map(|address| threads.control.block_on(health::listen(address))).transpose()?;
    let health_port = listener.as_ref().and_then(|listener| listener.local_addr().ok()).map(|address| address.port());
    let app = App::load(manifest, Arc::new(references), components, health_port, &threads)?;
    let result = threads.control.block_on(app.serve(&threads, listener, signals));
    threads.stop();
    Ok(result?)
}
