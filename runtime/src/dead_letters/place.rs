//! Which components keep dead letters, and where. One [`Link`] for each server, however many components keep letters there; a
//! component without `deadLetter` costs nothing.

use std::sync::Arc;

use spinredis_crds::{Component, Connection, DeadLetter, defaults};

use super::link::Link;
use crate::references::References;

/// Where a component keeps its dead letters.
#[derive(Clone)]
pub struct Place {
    /// `namespace/name` of the app.
    pub app: Arc<str>,
    /// Id of the component.
    pub component: Arc<str>,
    /// Key of the stream.
    pub stream: String,
    /// How many entries it keeps.
    pub max_length: u64,
    /// Its server.
    pub link: Arc<Link>,
}

/// Why a component's letters have no server.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlaceError {
    /// The manifest leaves the address to the application.
    #[error(
        "component {0} keeps its dead letters on the trigger's Redis server, and the manifest names none: set deadLetter.connection or trigger.address"
    )]
    NoServer(String),
}

impl Place {
    /// The stream from which its component takes what is to be handled again.
    pub fn redrive_stream(&self) -> String {
        format!("{}{}", self.stream, DeadLetter::REDRIVE_SUFFIX)
    }

    /// Whether two components keep their letters together.
    pub fn is_with(&self, other: &Place) -> bool {
        self.stream == other.stream && Arc::ptr_eq(&self.link, &other.link)
    }
}

/// The place of each component that has one. `trigger` is the server of those that name none.
pub fn places(
    app: &str,
    components: &[Component],
    trigger: Option<&Connection>,
    references: &Arc<References>,
) -> Result<Vec<Place>, PlaceError> {
    let app: Arc<str> = app.into();
    let mut links: Vec<(Connection, Arc<Link>)> = Vec::new();
    let mut found = Vec::new();
    for component in components {
        let Some(spec) = &component.dead_letter else { continue };
        let (connection, field) = match (&spec.connection, trigger) {
            (Some(own), _) => (own, format!("components[{}].deadLetter.connection", component.id)),
            (None, Some(trigger)) => (trigger, "trigger".to_owned()),
            (None, None) => return Err(PlaceError::NoServer(component.id.clone())),
        };
        let known = links.iter().find(|(known, _)| known == connection).map(|(_, link)| link.clone());
        let link = known.unwrap_or_else(|| {
            let link = Arc::new(Link::new(connection.clone(), field, references.clone()));
            links.push((connection.clone(), link.clone()));
            link
        });
        found.push(Place {
            app: app.clone(),
            component: component.id.as_str().into(),
            stream: spec.stream.clone(),
            max_length: spec.max_length.and_then(|number| u64::try_from(number).ok()).unwrap_or(defaults::DEAD_LETTER_LENGTH).max(1),
            link,
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use spinredis_crds::manifest::Manifest;

    fn places_of(spec: &str) -> Result<Vec<Place>, PlaceError> {
        let head = "apiVersion: spinredis.dev/v1alpha1\nkind: SpinRedisApp\nmetadata: {name: shop}\nspec:\n";
        let manifest = Manifest::parse(&format!("{head}{spec}")).unwrap();
        let trigger = Connection { address: Some("redis://redis".to_owned()), ..Connection::default() };
        let trigger = spec.contains("trigger").then_some(&trigger);
        places(&manifest.full_name(), &manifest.spec.components, trigger, &Arc::default())
    }

    #[test]
    fn components_with_the_same_server_share_its_connection() {
        let places = places_of(
            "  trigger: {address: 'redis://redis'}\n  components:\n  - {id: a, deadLetter: {stream: failed, maxLength: 5}}\n  - {id: b}\n  \
             - {id: c, deadLetter: {stream: failed}}\n  - {id: d, deadLetter: {stream: failed, connection: {address: 'redis://other'}}}\n",
        )
        .unwrap();
        let known: Vec<(&str, u64)> = places.iter().map(|place| (&*place.component, place.max_length)).collect();
        assert_eq!(known, [("a", 5), ("c", 10_000), ("d", 10_000)]);
        assert!(places[0].is_with(&places[1]) && !places[0].is_with(&places[2]));
        assert_eq!((&*places[0].app, places[0].redrive_stream().as_str()), ("default/shop", "failed:redrive"));
        assert_eq!(places[2].link.server(), "redis://other:6379");
    }

    #[test]
    fn letters_without_a_server_are_refused_by_name() {
        let error = places_of("  components:\n  - {id: a, deadLetter: {stream: failed}}\n").err().unwrap();
        assert_eq!(error, PlaceError::NoServer("a".to_owned()));
    }
}
