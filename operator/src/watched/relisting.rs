//! A watch that lists again whenever it broke. To go on from the last version it had shown would take less, and may take for
//! ever: an API server whose etcd was restored from a backup counts from an earlier version on, says nothing about it, and shows
//! no change until it has come to where it was before.

use std::{collections::BTreeSet, mem, pin::Pin, time::Instant};

use futures::{Stream, StreamExt, stream};
use kube::{
    core::PartialObjectMeta,
    runtime::watcher::{Error, Event, Result},
};
use tokio::time::sleep;

use crate::retry::Breaks;

/// The events of watches that `start` starts, one after the other. An error ends one; the next begins with a list a moment later.
pub fn relisting<T, W>(start: impl Fn() -> W + Send + 'static) -> impl Stream<Item = Result<Event<T>>> + Send + 'static
where
    T: Send + 'static,
    W: Stream<Item = Result<Event<T>>> + Send + 'static,
{
    let state = (start, None::<Pin<Box<W>>>, Breaks::default(), None);
    stream::unfold(state, |(start, watch, mut breaks, wait)| async move {
        if let Some(wait) = wait {
            sleep(wait).await;
        }
        let mut watch = watch.unwrap_or_else(|| Box::pin(start()));
        let event = watch.next().await?;
        let (watch, wait) = match &event {
            // That it lists does not say yet that it can watch.
            Ok(Event::Init | Event::InitApply(_) | Event::InitDone) => (Some(watch), None),
            Ok(Event::Apply(_) | Event::Delete(_)) => {
                breaks.works();
                (Some(watch), None)
            }
            Err(error) => (Some(watch).filter(|_| is_overload(error)), Some(breaks.broke(Instant::now()))),
        };
        Some((event, (start, watch, breaks, wait)))
    })
}

/// Whether the API server has too much to do. It has lost nothing then, and a list would be more to do.
fn is_overload(error: &Error) -> bool {
    matches!(error, Error::InitialListFailed(kube::Error::Api(status)) | Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 429)
}

/// The objects that a watch of metadata shows as touched, those that a new list lacks among them. Of each only its name is
/// kept for that.
pub fn touched<K>(events: impl Stream<Item = Event<PartialObjectMeta<K>>> + Send) -> impl Stream<Item = PartialObjectMeta<K>> + Send
where
    K: Send,
{
    let mut names = Names::default();
    events.flat_map(move |event| {
        let gone = names.take_in(&event).into_iter().map(|(namespace, name)| {
            let mut gone = PartialObjectMeta { types: None, metadata: Default::default(), _phantom: Default::default() };
            (gone.metadata.namespace, gone.metadata.name) = (Some(namespace), Some(name));
            gone
        });
        let touched = match event {
            Event::Apply(object) | Event::Delete(object) | Event::InitApply(object) => Some(object),
            Event::Init | Event::InitDone => None,
        };
        stream::iter(touched.into_iter().chain(gone).collect::<Vec<_>>())
    })
}

type Name = (String, String);

/// Namespaces and names of what there is.
#[derive(Default)]
struct Names {
    there: BTreeSet<Name>,
    /// While the watch lists: what it listed so far.
    listed: BTreeSet<Name>,
}

impl Names {
    /// Takes in what the watch shows; gives what went while nobody watched.
    fn take_in<K>(&mut self, event: &Event<PartialObjectMeta<K>>) -> BTreeSet<Name> {
        let name = |object: &PartialObjectMeta<K>| -> Name {
            (object.metadata.namespace.clone().unwrap_or_default(), object.metadata.name.clone().unwrap_or_default())
        };
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => drop(self.listed.insert(name(object))),
            Event::InitDone => {
                let before = mem::replace(&mut self.there, mem::take(&mut self.listed));
                return before.difference(&self.there).cloned().collect();
            }
            Event::Apply(object) => drop(self.there.insert(name(object))),
            Event::Delete(object) => drop(self.there.remove(&name(object))),
        }
        BTreeSet::new()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use k8s_openapi::api::core::v1::Service;

    use super::*;

    fn object(name: &str) -> PartialObjectMeta<Service> {
        let mut object = PartialObjectMeta { types: None, metadata: Default::default(), _phantom: Default::default() };
        (object.metadata.namespace, object.metadata.name) = (Some("n".to_owned()), Some(name.to_owned()));
        object
    }

    fn refusal(code: u16) -> Error {
        let status = serde_json::from_value(serde_json::json!({"code": code})).unwrap();
        Error::WatchStartFailed(kube::Error::Api(Box::new(status)))
    }

    /// How many watches are started for these events and two more.
    async fn started(error: fn() -> Error) -> usize {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = count.clone();
        let watch = relisting(move || {
            counted.fetch_add(1, Ordering::SeqCst);
            stream::iter([Ok(Event::Init), Ok(Event::InitDone), Err(error()), Ok(Event::Apply(object("a"))), Ok(Event::Apply(object("b")))])
        });
        let events: Vec<_> = watch.take(5).collect().await;
        assert!(events[2].is_err(), "it is told that the watch broke");
        count.load(Ordering::SeqCst)
    }

    #[tokio::test]
    async fn a_watch_that_broke_lists_again_unless_the_api_server_is_only_busy() {
        // At once, since each waits before it starts again.
        let broke = (started(|| Error::NoResourceVersion), started(|| refusal(500)), started(|| refusal(429)));
        assert_eq!(tokio::join!(broke.0, broke.1, broke.2), (2, 2, 1));
    }

    #[tokio::test]
    async fn what_went_while_a_watch_of_metadata_was_broken_is_touched() {
        let events = [
            Event::Init,
            Event::InitApply(object("a")),
            Event::InitApply(object("b")),
            Event::InitDone,
            Event::Apply(object("c")),
            Event::Delete(object("b")),
            Event::Init,
            Event::InitApply(object("c")),
            Event::InitDone,
        ];
        let touched: Vec<_> = touched(stream::iter(events)).map(|object| object.metadata.name.unwrap()).collect().await;
        assert_eq!(touched, ["a", "b", "c", "b", "c", "a"]);
    }
}
