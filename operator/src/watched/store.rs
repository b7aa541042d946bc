//! What one watch has seen, by namespace and name, together with what the operator wrote and the watch has yet to show: a
//! reconcile never decides on something older than its own last write.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, btree_map::Entry},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kube::{ResourceExt, runtime::watcher::Event};

use super::{Kept, Stored};

type Key = (String, String);

/// The objects of one kind.
pub struct Store<K>(Mutex<Objects<K>>);

struct Objects<K> {
    objects: BTreeMap<Key, Stored<K>>,
    /// The state of each watch, by the namespace it is of; `None`: of all.
    watches: HashMap<Option<String>, Watch>,
}

/// What an event of a watch tells that was not known.
#[derive(Debug)]
pub struct News<K> {
    /// Whether the event says anything new of its object. It does not when it only shows what the operator wrote itself, when a
    /// list repeats what is known, and when nothing changed that is kept.
    pub is_new: bool,
    /// The objects that went while nobody watched, which a new list shows by lacking them.
    pub gone: Vec<Stored<K>>,
}

#[derive(Default)]
struct Watch {
    /// The newest version that the watch has shown. It shows them in order, so it has shown everything up to here.
    shown: u64,
    /// While the watch lists: what it listed so far.
    listed: Option<BTreeSet<Key>>,
    /// While the watch lists: what was written meanwhile, which the list may be too old for.
    written: BTreeSet<Key>,
}

impl<K> Default for Store<K> {
    fn default() -> Self {
        Self(Mutex::new(Objects { objects: BTreeMap::new(), watches: HashMap::new() }))
    }
}

impl<K: Kept> Store<K> {
    fn lock(&self) -> MutexGuard<'_, Objects<K>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in what a watch of these namespaces (`None`: of all) tells. Several watches may feed one store, each with
    /// namespaces of its own.
    pub fn take_in(&self, event: &Event<Stored<K>>, namespace: Option<&str>) -> News<K> {
        let store = &mut *self.lock();
        let watch = store.watches.entry(namespace.map(str::to_owned)).or_default();
        match event {
            // Versions of before are not compared with those from now on: they are higher if etcd was restored from a backup.
            Event::Init => *watch = Watch { listed: Some(BTreeSet::new()), ..Watch::default() },
            Event::InitApply(object) => {
                let key = object.key();
                watch.shown = watch.shown.max(object.version());
                if let Some(listed) = &mut watch.listed {
                    listed.insert(key.clone());
                }
                let is_newest = !watch.written.contains(&key);
                let is_new = if is_newest { store.set(object.clone()) } else { store.put(object.clone()) };
                return News { is_new, gone: Vec::new() };
            }
            // What the list lacks is gone. What was written since then comes by the watch that begins now.
            Event::InitDone => {
                if let Some(listed) = watch.listed.take() {
                    let is_here = |key: &Key| namespace.is_none_or(|namespace| namespace == key.0);
                    let gone = store.objects.extract_if(.., |key, _| is_here(key) && !listed.contains(key));
                    return News { is_new: true, gone: gone.map(|(_, gone)| gone).collect() };
                }
            }
            Event::Apply(object) => {
                watch.shown = watch.shown.max(object.version());
                return News { is_new: store.put(object.clone()), gone: Vec::new() };
            }
            Event::Delete(object) => {
                watch.shown = watch.shown.max(object.version());
                store.remove(object);
            }
        }
        News { is_new: true, gone: Vec::new() }
    }

    /// Takes in what the API server answered to a write, before the watch shows it.
    pub fn wrote(&self, object: Stored<K>) {
        let store = &mut *self.lock();
        let scope = if store.watches.contains_key(&None) { None } else { object.namespace() };
        match store.watches.get_mut(&scope) {
            Some(Watch { listed: Some(_), written, .. }) => {
                if written.insert(object.key()) {
                    store.set(object);
                } else {
                    store.put(object);
                }
            }
            // A watch that is ahead of the answer knows better: it may have said since that the object is gone.
            Some(watch) if object.version() <= watch.shown => {}
            _ => drop(store.put(object)),
        }
    }

    /// Forgets an object that the API server says is not as it is kept here, until the watch shows it again.
    pub fn forget(&self, namespace: &str, name: &str) {
        self.lock().objects.remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// The object of that name.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Stored<K>> {
        self.lock().objects.get(&(namespace.to_owned(), name.to_owned())).cloned()
    }

    /// The objects that carry an app's label and a name that begins with the app's, as those of all its children and pods do.
    pub fn of_app(&self, namespace: &str, app: &str) -> Vec<Stored<K>> {
        let store = self.lock();
        let from = (namespace.to_owned(), app.to_owned());
        let near = store.objects.range(from..).take_while(|((of, name), _)| of == namespace && name.starts_with(app));
        near.filter(|(_, object)| object.app() == Some(app)).map(|(_, found)| found.clone()).collect()
    }

    /// The names of the objects of a namespace that ask for a ConfigMap.
    pub fn that_ask_for(&self, namespace: &str, config_map: &str) -> Vec<String> {
        let store = self.lock();
        let here = store.objects.range((namespace.to_owned(), String::new())..).take_while(|((of, _), _)| of == namespace);
        here.filter(|(_, object)| object.asks_for(config_map)).map(|((_, name), _)| name.clone()).collect()
    }

    /// Every object that is kept.
    pub fn all(&self) -> Vec<K> {
        let kept: Vec<_> = self.lock().objects.values().cloned().collect();
        kept.iter().filter_map(|object| object.read().ok()).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.lock().objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Kept> Objects<K> {
    /// Keeps an object unless a newer one is kept. Gives whether that changes anything that is read of it.
    fn put(&mut self, object: Stored<K>) -> bool {
        match self.objects.entry(object.key()) {
            Entry::Occupied(kept) if kept.get().version() > object.version() => false,
            _ => self.set(object),
        }
    }

    /// Keeps this, whatever was kept; gives whether it says anything new.
    fn set(&mut self, object: Stored<K>) -> bool {
        match self.objects.entry(object.key()) {
            Entry::Vacant(free) => {
                free.insert(object);
                true
            }
            Entry::Occupied(mut kept) => {
                let is_new = !kept.get().says_the_same_as(&object);
                kept.insert(object);
                is_new
            }
        }
    }

    fn remove(&mut self, gone: &Stored<K>) {
        let key = gone.key();
        // An object of that name that was made since is another one.
        if self.objects.get(&key).is_some_and(|kept| kept.version() <= gone.version()) {
            self.objects.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;
    use crate::names::APP_LABEL;

    fn object(name: &str, version: u64) -> Stored<ConfigMap> {
        let text = json!({"metadata": {
            "name": name, "namespace": "n", "resourceVersion": version.to_string(), "labels": {APP_LABEL: "shop", "other": "x"},
            "managedFields": [{"manager": "somebody"}],
        }});
        serde_json::from_value(text).unwrap()
    }

    fn names(store: &Store<ConfigMap>) -> Vec<String> {
        store.of_app("n", "shop").iter().map(ResourceExt::name_any).collect()
    }

    #[test]
    fn a_write_is_seen_at_once_and_an_older_event_does_not_undo_it() {
        let store = Store::default();
        store.take_in(&Event::Apply(object("shop-1", 5)), None);
        store.wrote(object("shop-1", 9));
        store.take_in(&Event::Apply(object("shop-1", 7)), None);
        assert_eq!(store.find("n", "shop-1").unwrap().version(), 9);
    }

    #[test]
    fn what_the_operator_wrote_itself_what_is_listed_again_and_another_version_of_the_same_are_no_news() {
        let store = Store::default();
        let is_new = |event: Event<Stored<ConfigMap>>| store.take_in(&event, None).is_new;
        assert!(is_new(Event::Apply(object("shop-1", 5))));
        store.wrote(object("shop-2", 6));
        assert!(!is_new(Event::Apply(object("shop-2", 6))));
        assert!(!is_new(Event::InitApply(object("shop-1", 5))));
        assert!(!is_new(Event::Apply(object("shop-1", 7))), "nothing of it changed");
        let edited = json!({"metadata": {"name": "shop-1", "namespace": "n", "resourceVersion": "8", "labels": {"other": "y"}}});
        assert!(is_new(Event::Apply(serde_json::from_value(edited).unwrap())));
        assert!(is_new(Event::Delete(object("shop-1", 9))));
    }

    #[test]
    fn an_answer_that_comes_after_the_event_of_a_deletion_brings_nothing_back() {
        let store = Store::default();
        store.take_in(&Event::Apply(object("shop-1", 5)), None);
        store.take_in(&Event::Delete(object("shop-1", 6)), None);
        store.wrote(object("shop-1", 5));
        assert!(store.find("n", "shop-1").is_none());
    }

    #[test]
    fn the_deletion_of_an_earlier_object_leaves_the_one_that_was_made_since() {
        let store = Store::default();
        store.wrote(object("shop-1", 9));
        store.take_in(&Event::Delete(object("shop-1", 8)), None);
        assert!(store.find("n", "shop-1").is_some());
    }

    #[test]
    fn what_a_new_list_lacks_is_gone_but_not_what_another_watch_keeps() {
        let store = Store::default();
        store.take_in(&Event::Apply(object("shop-1", 5)), None);
        store.take_in(&Event::Apply(object("shop-2", 6)), None);
        let relist = |namespace| {
            store.take_in(&Event::Init, namespace);
            store.take_in(&Event::InitApply(object("shop-2", 6)), namespace);
            store.take_in(&Event::InitDone, namespace)
        };
        assert!(relist(Some("elsewhere")).gone.is_empty());
        assert_eq!(names(&store), ["shop-1", "shop-2"]);
        let gone: Vec<_> = relist(None).gone.iter().map(ResourceExt::name_any).collect();
        assert_eq!(gone, ["shop-1"], "its app has to be told");
        assert_eq!(names(&store), ["shop-2"]);
    }

    #[test]
    fn after_a_restore_of_etcd_lower_versions_are_the_newer_ones() {
        let store = Store::default();
        for name in ["shop-1", "shop-2", "shop-3"] {
            store.take_in(&Event::Apply(object(name, 900)), None);
        }
        let version = |name: &str| store.find("n", name).map(|found| found.version());
        store.take_in(&Event::Init, None);
        store.wrote(object("shop-2", 610));
        store.take_in(&Event::InitApply(object("shop-1", 500)), None);
        store.take_in(&Event::InitApply(object("shop-2", 510)), None);
        store.take_in(&Event::InitDone, None);
        assert_eq!((version("shop-1"), version("shop-2"), version("shop-3")), (Some(500), Some(610), None));
        store.wrote(object("shop-1", 620));
        store.take_in(&Event::Apply(object("shop-1", 615)), None);
        assert_eq!(version("shop-1"), Some(620));
    }

    #[test]
    fn only_what_carries_the_label_of_the_app_is_its_own() {
        let store = Store::default();
        let stranger = json!({"metadata": {"name": "shop-x", "namespace": "n", "resourceVersion": "1", "labels": {APP_LABEL: "shop-x"}}});
        store.take_in(&Event::Apply(serde_json::from_value(stranger).unwrap()), None);
        store.take_in(&Event::Apply(object("shop-1", 5)), None);
        assert_eq!(names(&store), ["shop-1"]);
        let text: serde_json::Value = store.find("n", "shop-1").unwrap().read().unwrap();
        assert_eq!(text["metadata"]["managedFields"], json!(null), "it would take most of the memory");
        assert_eq!(text["metadata"]["labels"]["other"], "x");
    }
}
