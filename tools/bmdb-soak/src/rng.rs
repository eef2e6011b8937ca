//! The random source: sequences that a seed repeats.

/// A sequence of random numbers.
#[derive(Debug)]
pub(crate) struct Rng {
    seed: u128,
    drawn: u64,
}

impl Rng {
    /// The sequence of one `stream` of a run with this seed.
    pub(crate) fn new(seed: u64, stream: u32) -> Self {
        let seed = u128::from(seed) << 32 | u128::from(stream);
        Self { seed, drawn: 0 }
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.drawn += 1;
        bmdb_backoff::mix(self.seed, self.drawn)
    }

    /// A number below `limit`, which must not be 0.
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        u32::try_from(self.draw() % u64::from(limit)).unwrap_or(0)
    }

    /// An index into a list of this length; 0 if the list is empty.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        self.below(u32::try_from(length).unwrap_or(u32::MAX).max(1)) as usize
    }

    /// One of `all`, which must not be empty.
    pub(crate) fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.index(all.len())]
    }
}
