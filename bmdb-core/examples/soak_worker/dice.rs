//! Random choices that a seed repeats.

/// A sequence of random numbers.
#[derive(Debug)]
pub(crate) struct Dice {
    seed: u128,
    rolls: u64,
}

impl Dice {
    /// The sequence of one `stream` of a run with this seed.
    pub(crate) fn new(seed: u64, stream: u32) -> Self {
        Self {
            seed: u128::from(seed) << 32 | u128::from(stream),
            rolls: 0,
        }
    }

    /// A number below `sides`, which must not be 0.
    pub(crate) fn roll(&mut self, sides: u32) -> u32 {
        self.rolls += 1;
        let random = bmdb_backoff::mix(self.seed, self.rolls);
        u32::try_from(random % u64::from(sides)).unwrap_or(0)
    }
}
