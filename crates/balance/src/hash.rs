//! Hashes that decide where a key belongs: fixed for good.
//!
//! The same key must lead to the same endpoint on every machine, after every restart and in the
//! next version, so nothing here is seeded at run time. Who can choose keys can therefore choose
//! an endpoint: `bounded_load` is what holds against that.

/// Hash of what a policy's key names, for [`crate::Wanted::key`].
///
/// rapidhash V3 with the seed and the secrets of its reference implementation.
pub fn hash_key(bytes: &[u8]) -> u64 {
    rapidhash::v3::rapidhash_v3(bytes)
}

/// Hash of two hashes, such as that of a key and that of an endpoint's name.
///
/// The finaliser of SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number
/// Generators", 2014), applied after each.
pub(crate) fn hash_pair(one: u64, other: u64) -> u64 {
    finalise(finalise(one).wrapping_add(other))
}

/// A hash as a number between 0 and 1, neither included.
pub(crate) fn unit(hash: u64) -> f64 {
    // 52 bits: with one half added all of them fit an f64, so that none is rounded up to 1.
    ((hash >> 12) as f64 + 0.5) / (1u64 << 52) as f64
}

fn finalise(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients move to other endpoints if this changes.
    #[test]
    fn hashes_never_change() {
        assert_eq!(hash_key(b""), 0x0338_dc4b_e2ce_cdae);
        assert_eq!(hash_key(b"198.51.100.7"), 0x19e3_8f1f_9c8b_7aed);
        assert_eq!(hash_key(&[b'x'; 500]), 0x1f65_70e3_1d8d_e5de);
        assert_eq!(hash_pair(1, 2), 0xef30_b01c_2974_aeeb);
    }

    #[test]
    fn units_are_between_0_and_1() {
        assert!(unit(0) > 0.0 && unit(u64::MAX) < 1.0);
        assert!((unit(1 << 63) - 0.5).abs() < 1e-12);
    }
}
