//! Grinds mintv2 tweaks, as `fedimint/mintv2/tweaks.py` does, which says what they are for.

use sha2::{Digest, Sha256};

pub const FILTER_SIZE: usize = 32;
pub const TWEAK_SIZE: usize = 16;
/// How the hash of a tweak that meets the filter begins.
const ZEROS: [u8; 2] = [0, 0];

/// The first of so many tweaks from `start` upwards that meets the filter, if one does; after the largest comes zero.
#[must_use]
pub fn find(
    tweak_filter: &[u8; FILTER_SIZE],
    start: [u8; TWEAK_SIZE],
    tries: u32,
) -> Option<[u8; TWEAK_SIZE]> {
    let first = u128::from_be_bytes(start);
    (0..u128::from(tries))
        .map(|index| first.wrapping_add(index).to_be_bytes())
        .find(|tweak| meets_filter(tweak, tweak_filter))
}

fn meets_filter(tweak: &[u8; TWEAK_SIZE], tweak_filter: &[u8; FILTER_SIZE]) -> bool {
    let hash = Sha256::new()
        .chain_update(tweak)
        .chain_update(tweak_filter)
        .finalize();
    hash.starts_with(&ZEROS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTER: [u8; FILTER_SIZE] = [7; FILTER_SIZE];

    fn first_from(start: [u8; TWEAK_SIZE]) -> [u8; TWEAK_SIZE] {
        find(&FILTER, start, u32::MAX).unwrap()
    }

    #[test]
    fn tries_bound_the_work() {
        let found = first_from([0; TWEAK_SIZE]);
        assert!(meets_filter(&found, &FILTER));
        let before = u32::try_from(u128::from_be_bytes(found)).unwrap();
        assert_eq!(find(&FILTER, [0; TWEAK_SIZE], before), None);
        assert_eq!(find(&FILTER, [0; TWEAK_SIZE], before + 1), Some(found));
        assert_eq!(find(&FILTER, found, 1), Some(found));
        assert_eq!(find(&FILTER, found, 0), None);
    }

    #[test]
    fn zero_comes_after_the_largest() {
        let largest = [0xff; TWEAK_SIZE];
        assert!(!meets_filter(&largest, &FILTER));
        assert_eq!(first_from(largest), first_from([0; TWEAK_SIZE]));
    }
}
