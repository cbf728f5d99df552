//! Hashes that every node computes alike, so that the same key finds the same instance wherever it is asked.

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): every bit of the input reaches every bit of the output.
pub(crate) fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// FNV-1a, mixed: FNV alone leaves keys that differ in their last byte close together.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    mix(bytes.iter().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)))
}

/// The hash of two hashes in this order.
pub(crate) fn hash_pair(first: u64, second: u64) -> u64 {
    mix(first ^ mix(second.wrapping_add(0x9E37_79B9_7F4A_7C15)))
}
