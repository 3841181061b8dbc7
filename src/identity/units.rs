//! Union-find over the customers that share something.

use super::bitmap::Ranked;

/// Sets of positions within the linked customers. The smallest member is the root, so that the order in which
/// links come does not matter.
#[derive(Debug)]
pub(super) struct Units {
    parents: Vec<u32>,
}

/// Units of two customers and more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct UnitCounts {
    pub(super) several: u64,
    pub(super) largest: u32,
}

impl Units {
    pub(super) fn new(len: u32) -> Self {
        Self { parents: (0..len).collect() }
    }
    fn find(&mut self, mut at: u32) -> u32 {
        while self.parents[at as usize] != at {
            // Halving the path keeps it short without a second walk.
            let above = self.parents[self.parents[at as usize] as usize];
            self.parents[at as usize] = above;
            at = above;
        }
        at
    }
    pub(super) fn union(&mut self, a: u32, b: u32) {
        let (a, b) = (self.find(a), self.find(b));
        self.parents[a.max(b) as usize] = a.min(b);
    }
    /// For each position the row number of its root.
    pub(super) fn finish(mut self, linked: &Ranked) -> (Vec<u32>, UnitCounts) {
        let mut sizes = vec![0u32; self.parents.len()];
        for at in 0..self.parents.len() as u32 {
            let root = self.find(at);
            self.parents[at as usize] = root;
            sizes[root as usize] += 1;
        }
        let counts = UnitCounts {
            several: sizes.iter().filter(|size| **size > 1).count() as u64,
            largest: sizes.iter().copied().max().unwrap_or(0),
        };
        drop(sizes);
        // Roots come before their members, so theirs are row numbers already when a member looks.
        for (at, row) in (0u32..).zip(linked.iter()) {
            let root = self.parents[at as usize];
            self.parents[at as usize] = if root == at { row } else { self.parents[root as usize] };
        }
        (self.parents, counts)
    }
}
