//! FNV-1a: a hash for names on disk and on servers. Unlike std's it is the same in every build.

pub(crate) fn fnv<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    parts
        .into_iter()
        // A separator that UTF-8 text cannot contain: ("ab", "c") and ("a", "bc") must differ.
        .flat_map(|part| part.iter().chain([&0xff]))
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        })
}
