//! Whose dead letters a command is about: which stream of which server, found in the app's manifest.

use std::{path::Path, sync::Arc};

use spinredis_crds::{Component, Connection, manifest::Manifest};

use super::DeadLettersError;
use crate::{
    cli::dead_letters::WhoseArgs,
    commands::{CommandError, read_manifest, values},
    compile::artifact::Index,
    dead_letters::{
        archive::{Archive, Owner},
        entry::Entry,
        place::{Place, places},
    },
    references::References,
};

/// Where the operator puts an app's files in its pods (operator/src/reconcile/build/volumes.rs).
const POD_MANIFEST: &str = "/etc/spinredis/app.yaml";
const POD_REFERENCES: &str = "/var/run/spinredis/refs";
const POD_COMPONENTS: &str = "/var/lib/spinredis/components";

/// The letters of an app, or of one component of it.
pub(super) struct Whose {
    app: String,
    component: Option<String>,
    /// Where they are.
    pub(super) place: Place,
}

impl Whose {
    /// What the arguments say.
    pub(super) fn of(args: &WhoseArgs) -> Result<Self, DeadLettersError> {
        let in_pod = args.file.is_none() && Path::new(POD_MANIFEST).exists();
        let file = args.file.as_deref().or(in_pod.then(|| Path::new(POD_MANIFEST))).ok_or(DeadLettersError::NoManifest)?;
        let documents = read_manifest(file)?;
        let manifest = documents.manifest().map_err(|error| CommandError::Manifest { path: file.display().to_string(), error })?;
        let folder = args.refs.as_deref().or(in_pod.then(|| Path::new(POD_REFERENCES)));
        let references = folder.map_or_else(References::default, References::directory);
        let references = references.with_values(documents.objects).with_values(values::given(&args.references)?);
        // The trigger of a whole Spin app may be known only to what `prepare` left.
        let prepared = || if in_pod { Index::read(Path::new(POD_COMPONENTS)).ok()?.trigger } else { None };
        let trigger = manifest.spec.trigger.clone().map(|trigger| trigger.connection).or_else(prepared);
        Self::choose(&manifest, trigger, args, &Arc::new(references))
    }

    fn choose(
        manifest: &Manifest,
        trigger: Option<Connection>,
        args: &WhoseArgs,
        references: &Arc<References>,
    ) -> Result<Self, DeadLettersError> {
        let app = manifest.full_name();
        let mut components = manifest.spec.components.clone();
        let mut trigger = trigger;
        if let Some(address) = &args.address {
            at(address, &mut components, &mut trigger)?;
        }
        if let Some(given) = &args.component {
            let known = || components.iter().map(|component| component.id.as_str()).collect::<Vec<_>>().join(", ");
            match components.iter().find(|component| component.id == *given) {
                None => return Err(DeadLettersError::UnknownComponent { given: given.clone(), known: known() }),
                Some(component) if component.dead_letter.is_none() => return Err(DeadLettersError::NotKeptBy(given.clone())),
                Some(_) => components.retain(|component| component.id == *given),
            }
        }
        let places = places(&app, &components, trigger.as_ref(), references)?;
        let Some(first) = places.first() else { return Err(DeadLettersError::NotKept(app)) };
        if places.iter().any(|place| !place.is_with(first)) {
            let known: Vec<String> =
                places.iter().map(|place| format!("{} (stream {} of {})", place.component, place.stream, place.link.server())).collect();
            return Err(DeadLettersError::Several(known.join(", ")));
        }
        Ok(Self { place: first.clone(), component: args.component.clone(), app })
    }

    /// Whose letters are meant.
    pub(super) fn owner(&self) -> Owner<'_> {
        Owner { app: &self.app, component: self.component.as_deref() }
    }

    /// One of their letters by its id.
    pub(super) async fn entry(&self, id: &str) -> Result<(String, Entry), DeadLettersError> {
        let found = Archive::new(&self.place).get(id).await?;
        let no_entry = || DeadLettersError::NoEntry { stream: self.place.stream.clone(), ids: id.to_owned() };
        let (id, entry) = found.ok_or_else(no_entry)?;
        let entry = entry.map_err(|error| DeadLettersError::NotALetter { id: id.clone(), error })?;
        match self.owner().has(&entry) {
            true => Ok((id, entry)),
            false => Err(DeadLettersError::NotOwn { id, component: entry.component.to_string(), app: entry.app.to_string() }),
        }
    }
}

/// Puts another address into every place where dead letters may be.
fn at(address: &str, components: &mut [Component], trigger: &mut Option<Connection>) -> Result<(), DeadLettersError> {
    if address.contains('@') {
        let hint = "it must not hold a user or password: the manifest says which Secret holds it, and --ref gives its value";
        return Err(DeadLettersError::Address(hint.to_owned()));
    }
    spinredis_crds::address::RedisAddress::parse(address).map_err(|error| DeadLettersError::Address(error.to_string()))?;
    let own = components.iter_mut().filter_map(|component| component.dead_letter.as_mut()?.connection.as_mut());
    for connection in own.chain([trigger.get_or_insert_default()]) {
        connection.address = Some(address.to_owned());
        connection.address_from = None;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "apiVersion: spinredis.dev/v1alpha1\nkind: SpinRedisApp\nmetadata: {name: shop}\nspec:\n  trigger: {address: 'redis://redis'}\n  components:\n";

    fn choose(components: &str, component: Option<&str>, address: Option<&str>) -> Result<Whose, String> {
        let manifest = Manifest::parse(&format!("{HEAD}{components}")).unwrap();
        let args = WhoseArgs {
            file: None,
            component: component.map(str::to_owned),
            address: address.map(str::to_owned),
            refs: None,
            references: Vec::new(),
        };
        let trigger = Some(Connection { address: Some("redis://redis".to_owned()), ..Connection::default() });
        Whose::choose(&manifest, trigger, &args, &Arc::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn one_stream_needs_no_component() {
        let whose =
            choose("  - {id: a, deadLetter: {stream: failed}}\n  - {id: b, deadLetter: {stream: failed}}\n  - {id: c}\n", None, None);
        let whose = whose.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((whose.place.stream.as_str(), whose.owner().component), ("failed", None));
    }

    #[test]
    fn of_several_streams_one_must_be_chosen() {
        let components = "  - {id: a, deadLetter: {stream: one}}\n  - {id: b, deadLetter: {stream: two}}\n  - {id: c}\n";
        let error = choose(components, None, None).err().unwrap();
        assert!(error.ends_with("a (stream one of redis://redis:6379), b (stream two of redis://redis:6379)"), "{error}");
        assert_eq!(choose(components, Some("b"), None).map(|whose| whose.place.stream), Ok("two".to_owned()));
        assert!(choose(components, Some("c"), None).err().unwrap().starts_with("component c has no deadLetter"));
        assert!(choose(components, Some("x"), None).err().unwrap().ends_with("it has a, b, c"));
        assert!(choose("  - {id: c}\n", None, None).err().unwrap().starts_with("no component of app default/shop has deadLetter"));
    }

    #[test]
    fn another_address_is_used_for_all_and_never_holds_a_password() {
        let own = "  - {id: a, deadLetter: {stream: one, connection: {addressFrom: {secretKeyRef: {name: redis, key: url}}}}}\n";
        let whose = choose(own, None, Some("redis://127.0.0.1:7000")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(whose.place.link.server(), "redis://127.0.0.1:7000");
        let error = choose(own, None, Some("redis://:hunter2@127.0.0.1")).err().unwrap();
        assert!(!error.contains("hunter2") && error.contains("--ref"), "{error}");
    }
}
