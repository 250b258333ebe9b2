//! The endpoints that one exchange has used.

use smallvec::SmallVec;

/// Indices of the endpoints that an exchange has tried, so that a retry goes elsewhere.
///
/// A set. Looked through from the front, because it holds one or two entries: the first four
/// cost no allocation.
#[derive(Debug, Default, Clone)]
pub struct Tried(SmallVec<[u32; 4]>);

impl Tried {
    /// Nothing tried.
    pub fn new() -> Self {
        Self::default()
    }

    /// Remembers the endpoint at `index` of its pool.
    pub fn insert(&mut self, index: usize) {
        if !self.contains(index) {
            let index = u32::try_from(index).expect("a pool has fewer than 2^32 endpoints");
            self.0.push(index);
        }
    }

    /// Forgets the endpoint at `index`: the attempt says nothing about it.
    pub fn remove(&mut self, index: usize) {
        self.0.retain(|tried| *tried as usize != index);
    }

    /// True if the endpoint at `index` was tried.
    pub fn contains(&self, index: usize) -> bool {
        self.0.iter().any(|&tried| tried as usize == index)
    }

    /// True before the first attempt.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_tried_endpoints_are_all_remembered() {
        let mut tried = Tried::new();
        assert!(tried.is_empty());
        for index in (0..100).chain(0..100) {
            tried.insert(index);
        }
        assert!((0..100).all(|index| tried.contains(index)));
        assert!(!tried.contains(100));
        assert_eq!(tried.0.len(), 100);
        tried.remove(7);
        assert!(!tried.contains(7) && tried.contains(8));
    }
}
