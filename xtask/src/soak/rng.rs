//! Random choices that a seed repeats.

/// A sequence of random numbers.
#[derive(Debug)]
pub(crate) struct Dice {
    seed: u64,
    rolls: u64,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, rolls: 0 }
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.rolls += 1;
        bmdb_backoff::mix(u128::from(self.seed), self.rolls)
    }

    /// A number below `sides`, which must not be 0.
    pub(crate) fn roll(&mut self, sides: u32) -> u32 {
        u32::try_from(self.draw() % u64::from(sides)).unwrap_or(0)
    }

    /// A place in a list of this length; 0 where it is empty.
    pub(crate) fn place(&mut self, length: usize) -> usize {
        self.roll(u32::try_from(length).unwrap_or(u32::MAX).max(1)) as usize
    }
}
