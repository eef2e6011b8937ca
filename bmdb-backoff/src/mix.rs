//! `mix`: reproducible randomness for jitter, from the machine that waits and the number of its attempt.

/// A well-mixed number that depends only on its arguments: the `n`-th output, from 0, of a
/// SplitMix64 generator seeded with `seed`.
///
/// With a machine's id as the seed and the fence of its attempt as `n`, the delays of different
/// machines and of successive attempts are independent, yet an audit can recompute every one.
/// Not for secrets.
///
/// ```
/// use bmdb_backoff::mix;
///
/// // A seed that fits 64 bits gives exactly the published SplitMix64 sequence.
/// assert_eq!(mix(1_234_567, 0), 6_457_827_717_110_365_317);
/// assert_eq!(mix(1_234_567, 1), 3_203_168_211_198_807_973);
/// ```
#[must_use]
pub const fn mix(seed: u128, n: u64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the two halves are taken apart"
    )]
    let (high, low) = ((seed >> u64::BITS) as u64, seed as u64);
    // The high half is scrambled before it is folded in: with a plain xor, ids that count up in
    // both halves would cancel out and share their numbers.
    let state = low ^ scramble(high);
    scramble(state.wrapping_add(GOLDEN_GAMMA.wrapping_mul(n.wrapping_add(1))))
}

/// 2⁶⁴ divided by the golden ratio, odd: the step of SplitMix64's counter.
const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

const fn scramble(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
