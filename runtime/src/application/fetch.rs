//! From a reference to an app that can be prepared: pulls, resolves, and gives out its content one layer at a time.

use std::path::Path;

use spinredis_crds::OciSource;

use super::{
    AppComponent, Application, ApplicationError, Content,
    files::{self, FilesError},
    resolve::{self, Refusal},
};
use crate::source::{
    decode,
    oci::{ApplicationImage, Registries},
};

/// A Spin app whose locked app is read and accepted; its layers are still in the registry.
#[derive(Debug)]
pub struct FetchedApplication {
    /// The app.
    pub application: Application,
    /// Digest of the image manifest.
    pub digest: String,
    image: ApplicationImage,
}

/// Pulls manifest and locked app, and refuses what cannot run here.
pub async fn fetch(registries: &Registries, source: &OciSource) -> Result<FetchedApplication, ApplicationError> {
    let image = registries.pull_application(source).await?;
    let refused = |refusal| ApplicationError::Refused { reference: source.reference.clone(), refusal };
    let application = resolve::resolve(&image.lock).map_err(refused)?;
    // Without an archive every digest must be a layer: better said before anything is compiled.
    let archives = !image.archives().is_empty();
    for component in &application.components {
        let wasm = std::iter::once((&component.wasm, false));
        for (content, archived) in wasm.chain(component.files.iter().map(|file| (&file.content, archives))) {
            if let Content::Blob { digest } = content
                && !archived
                && !image.holds(digest)
            {
                return Err(refused(Refusal::NoLayer { component: component.id.clone(), digest: digest.clone() }));
            }
        }
    }
    Ok(FetchedApplication { application, digest: image.digest.clone(), image })
}

impl FetchedApplication {
    /// Binary WebAssembly of one of the app's components.
    pub async fn wasm(&self, component: &AppComponent) -> Result<Vec<u8>, ApplicationError> {
        let bytes = match &component.wasm {
            Content::Inline(bytes) => bytes.clone(),
            Content::Blob { digest } => self.image.layer(digest).await?,
        };
        decode::wasm(bytes).map_err(|error| ApplicationError::Decode {
            reference: self.image.reference().to_owned(),
            component: component.id.clone(),
            error,
        })
    }

    /// Writes the files of all components below `out`, each to [`files::folder`]`(out, id)`. What was there is replaced.
    pub async fn write_files(&self, out: &Path) -> Result<(), ApplicationError> {
        let failed = |error: FilesError| ApplicationError::Files { reference: self.image.reference().to_owned(), error };
        let mut writer = files::Writer::start(&self.application, out).map_err(failed)?;
        for digest in writer.wanted() {
            if self.image.holds(&digest) {
                writer.blob(&digest, &self.image.layer(&digest).await?).map_err(failed)?;
            }
        }
        for digest in self.image.archives() {
            if writer.is_complete() {
                break;
            }
            writer.archive(&self.image.layer(digest).await?).map_err(failed)?;
        }
        writer.finish().map_err(failed)
    }
}
