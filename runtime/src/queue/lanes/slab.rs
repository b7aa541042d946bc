//! A slab whose values can stand in one doubly linked list: places are reused, and putting a value in the list or taking it out
//! from anywhere costs the same however many there are. Memory of a flood is given back once the slab is empty again.

use std::ops::{Index, IndexMut};

/// No place.
pub const NOWHERE: u32 = u32::MAX;

/// Places that are kept when the slab gets empty.
pub const KEEP: usize = 1024;

/// Values at places.
#[derive(Default)]
pub struct Slab<T> {
    nodes: Vec<Node<T>>,
    /// Free places, linked by `next`.
    free: Option<u32>,
    len: usize,
}

#[derive(Default)]
struct Node<T> {
    value: T,
    previous: u32,
    next: u32,
}

impl<T: Default> Slab<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn get(&self, place: u32) -> Option<&T> {
        self.nodes.get(place as usize).map(|node| &node.value)
    }

    /// Stores a value and says where.
    pub fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        match self.free {
            Some(place) => {
                let node = &mut self.nodes[place as usize];
                self.free = (node.next != NOWHERE).then_some(node.next);
                node.value = value;
                place
            }
            None => {
                self.nodes.push(Node { value, previous: NOWHERE, next: NOWHERE });
                (self.nodes.len() - 1) as u32
            }
        }
    }

    /// Frees a place that is in no list and gives its value back; until it is reused the place holds a default.
    pub fn remove(&mut self, place: u32) -> T {
        let node = &mut self.nodes[place as usize];
        let value = std::mem::take(&mut node.value);
        node.next = self.free.unwrap_or(NOWHERE);
        self.free = Some(place);
        self.len -= 1;
        if self.len == 0 && self.nodes.len() > KEEP {
            *self = Self::default();
        }
        value
    }
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, place: u32) -> &T {
        &self.nodes[place as usize].value
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, place: u32) -> &mut T {
        &mut self.nodes[place as usize].value
    }
}

/// The ends of the list of one slab. A place is in it once or not at all; who owns both knows which.
pub struct List {
    first: u32,
    last: u32,
    len: usize,
}

impl Default for List {
    fn default() -> Self {
        Self { first: NOWHERE, last: NOWHERE, len: 0 }
    }
}

impl List {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn first(&self) -> Option<u32> {
        (self.first != NOWHERE).then_some(self.first)
    }

    /// The places in their order.
    pub fn places<'a, T>(&'a self, slab: &'a Slab<T>) -> impl Iterator<Item = u32> + 'a {
        let next = |&place: &u32| Some(slab.nodes[place as usize].next).filter(|&next| next != NOWHERE);
        std::iter::successors(self.first(), next)
    }

    pub fn push_back<T>(&mut self, slab: &mut Slab<T>, place: u32) {
        let node = &mut slab.nodes[place as usize];
        (node.previous, node.next) = (self.last, NOWHERE);
        match self.last {
            NOWHERE => self.first = place,
            last => slab.nodes[last as usize].next = place,
        }
        self.last = place;
        self.len += 1;
    }

    pub fn remove<T>(&mut self, slab: &mut Slab<T>, place: u32) {
        let Node { previous, next, .. } = slab.nodes[place as usize];
        match previous {
            NOWHERE => self.first = next,
            previous => slab.nodes[previous as usize].next = next,
        }
        match next {
            NOWHERE => self.last = previous,
            next => slab.nodes[next as usize].previous = previous,
        }
        self.len -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_keeps_its_order_when_values_leave_from_anywhere() {
        let (mut slab, mut list) = (Slab::default(), List::default());
        let places: Vec<u32> = (0..5).map(|value| slab.insert(value)).collect();
        places.iter().for_each(|&place| list.push_back(&mut slab, place));
        for place in [places[0], places[2], places[4]] {
            list.remove(&mut slab, place);
            slab.remove(place);
        }
        let again = slab.insert(7);
        assert!(places.contains(&again), "a free place is reused");
        list.push_back(&mut slab, again);
        assert_eq!(list.places(&slab).map(|place| slab[place]).collect::<Vec<_>>(), [1, 3, 7]);
        assert_eq!((list.len(), slab.len()), (3, 3));
    }

    #[test]
    fn the_memory_of_a_flood_is_given_back() {
        let mut slab = Slab::default();
        let places: Vec<u32> = (0..2 * KEEP as u32).map(|value| slab.insert(value)).collect();
        for place in places {
            slab.remove(place);
        }
        assert!(slab.nodes.is_empty());
        assert_eq!(slab.insert(1), 0);
    }
}
