//! What all threads that call guests use at every call, spread over places so that they do not wait for each other: what one
//! processor has just written, another first has to fetch, and that costs as much as the rest of a small call.

use std::{
    ops::Deref,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// So many threads have a place of their own; of more, some share one.
const PLACES: usize = 8;

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static THREAD: usize = THREADS.fetch_add(1, Relaxed);
}

/// One value for each place.
#[derive(Debug, Default)]
pub(super) struct Spread<T>([Apart<T>; PLACES]);

/// Processors fetch two neighbouring lines of 64 bytes together.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

/// The number of the calling thread, in the order in which threads first came here.
pub(super) fn thread() -> usize {
    THREAD.with(|thread| *thread)
}

impl<T> Deref for Apart<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Spread<T> {
    /// The value at the calling thread's place.
    pub(super) fn own(&self) -> &T {
        &self.0[Self::place()]
    }

    /// The values of all places, the calling thread's first.
    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        let (before, after) = self.0.split_at(Self::place());
        after.iter().chain(before).map(Deref::deref)
    }

    fn place() -> usize {
        thread() % PLACES
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, thread};

    use super::*;

    #[test]
    fn every_thread_finds_what_any_thread_left() {
        let spread: Spread<Mutex<Vec<usize>>> = Spread::default();
        thread::scope(|scope| {
            for number in 0..3 * PLACES {
                let spread = &spread;
                scope.spawn(move || spread.own().lock().unwrap().push(number));
            }
        });
        let mut found: Vec<usize> = spread.all().flat_map(|place| place.lock().unwrap().clone()).collect();
        found.sort_unstable();
        assert_eq!(found, (0..3 * PLACES).collect::<Vec<_>>());
    }

    #[test]
    fn a_thread_comes_to_its_own_place_first() {
        let spread: Spread<AtomicUsize> = Spread::default();
        spread.own().fetch_add(1, Relaxed);
        assert_eq!(spread.all().map(|place| place.load(Relaxed)).collect::<Vec<_>>(), [[1].as_slice(), &[0; PLACES - 1]].concat());
    }
}
