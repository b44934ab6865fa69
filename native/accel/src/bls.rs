//! BLS12-381 by blst, as far as `fedimint/crypto/blst.py` has use for it.
//!
//! Every point that leaves this file lies in the subgroup of the prime order.

use blst::{blst_fp12, blst_p1, p1_affines};
use blstrs::{G1Affine, G2Affine};
use group::Curve;

pub use blstrs::{G1Projective as G1, G2Projective as G2, Scalar};
pub use group::Group;

pub const G1_SIZE: usize = 48;
pub const G2_SIZE: usize = 96;
pub const SCALAR_SIZE: usize = 32;

/// The first bit of every compressed point.
const COMPRESSED: u8 = 0x80;
/// What brings a point of the curve into the subgroup, as `fedimint/crypto/arkworks.py` computes it; big-endian.
const G1_EFFECTIVE_COFACTOR: [u8; 8] = 0xd201_0000_0001_0001_u64.to_be_bytes();
const G2_EFFECTIVE_COFACTOR: [u8; 80] = [
    0x0b, 0xc6, 0x9f, 0x08, 0xf2, 0xee, 0x75, 0xb3, 0x58, 0x4c, 0x6a, 0x0e, 0xa9, 0x1b, 0x35, 0x28,
    0x88, 0xe2, 0xa8, 0xe9, 0x14, 0x5a, 0xd7, 0x68, 0x99, 0x86, 0xff, 0x03, 0x15, 0x08, 0xff, 0xe1,
    0x32, 0x9c, 0x2f, 0x17, 0x87, 0x31, 0xdb, 0x95, 0x6d, 0x82, 0xbf, 0x01, 0x5d, 0x12, 0x12, 0xb0,
    0x2e, 0xc0, 0xec, 0x69, 0xd7, 0x47, 0x7c, 0x1a, 0xe9, 0x54, 0xcb, 0xc0, 0x66, 0x89, 0xf6, 0xa3,
    0x59, 0x89, 0x4c, 0x0a, 0xde, 0xbb, 0xf6, 0xb4, 0xe8, 0x02, 0x00, 0x05, 0xaa, 0xa9, 0x55, 0x51,
];
/// Up to so many bytes, a factor is a public weight, and is multiplied by in a time that tells it.
const WEIGHT_SIZE: usize = 8;

/// The point of the subgroup that has this compressed form; None when there is none.
#[must_use]
pub fn decode_g1(bytes: &[u8]) -> Option<G1> {
    Option::from(G1Affine::from_compressed(bytes.try_into().ok()?))
        .map(|point: G1Affine| point.into())
}

/// As `decode_g1`.
#[must_use]
pub fn decode_g2(bytes: &[u8]) -> Option<G2> {
    Option::from(G2Affine::from_compressed(bytes.try_into().ok()?))
        .map(|point: G2Affine| point.into())
}

/// The scalar that has this form, little-endian and below the order; None when there is none.
#[must_use]
pub fn decode_scalar(bytes: &[u8]) -> Option<Scalar> {
    Scalar::from_bytes_le(bytes.try_into().ok()?).into()
}

/// What a generator that drew x and the flip makes of them: the point of that x whose y is a square, or its negative
/// for the flip, brought into the subgroup. None when there is none, or nothing is left of it.
#[must_use]
pub fn point_of_g1(mut x: [u8; G1_SIZE], flip: bool) -> Option<G1> {
    x[0] |= COMPRESSED;
    let point: G1Affine = Option::from(G1Affine::from_compressed_unchecked(&x))?;
    let is_wanted = bool::from(point.y().is_quad_res()) != flip;
    cleared(point.into(), &G1_EFFECTIVE_COFACTOR, is_wanted)
}

/// As `point_of_g1`: of x, the imaginary part comes first; of y, twice the real part is a square.
#[must_use]
pub fn point_of_g2(mut x: [u8; G2_SIZE], flip: bool) -> Option<G2> {
    x[0] |= COMPRESSED;
    let point: G2Affine = Option::from(G2Affine::from_compressed_unchecked(&x))?;
    let doubled = point.y().c0() + point.y().c0();
    let is_wanted = bool::from(doubled.is_quad_res()) != flip;
    cleared(point.into(), &G2_EFFECTIVE_COFACTOR, is_wanted)
}

fn cleared<G: Group>(point: G, cofactor: &[u8], is_wanted: bool) -> Option<G> {
    let cleared = double_and_add(point, cofactor);
    let signed = if is_wanted { cleared } else { -cleared };
    (!bool::from(signed.is_identity())).then_some(signed)
}

/// Multiplies, also outside of the subgroup, by a big-endian factor that the time may tell.
fn double_and_add<G: Group>(point: G, factor: &[u8]) -> G {
    let bits = factor
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1));
    bits.fold(G::identity(), |total, is_set| {
        let doubled = total.double();
        if is_set { doubled + point } else { doubled }
    })
}

#[must_use]
pub fn multiply<G: Group<Scalar = Scalar>>(point: G, factor: &Scalar) -> G {
    let bytes = factor.to_bytes_be();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    if SCALAR_SIZE - zeros <= WEIGHT_SIZE {
        double_and_add(point, &bytes[zeros..])
    } else {
        point * factor
    }
}

/// The sum of the points, each multiplied by its factor. Faster when the factors are short.
#[must_use]
pub fn multiply_sum(points: &[G1], factors: &[Scalar]) -> G1 {
    let (points, factors): (Vec<blst_p1>, Vec<[u8; SCALAR_SIZE]>) = points
        .iter()
        .zip(factors)
        .filter(|(point, _)| !bool::from(point.is_identity()))
        .map(|(point, factor)| (*point.as_ref(), factor.to_bytes_le()))
        .unzip();
    let size = factors
        .iter()
        .filter_map(|factor| factor.iter().rposition(|byte| *byte != 0))
        .max();
    let mut sum = G1::identity();
    if let Some(last) = size {
        let packed: Vec<u8> = factors
            .iter()
            .flat_map(|factor| &factor[..=last])
            .copied()
            .collect();
        *sum.as_mut() = p1_affines::from(&points).mult(&packed, 8 * (last + 1));
    }
    sum
}

/// Whether the product of the pairings is one.
#[must_use]
pub fn pairings_product_is_one(left: &[G1], right: &[G2]) -> bool {
    let (left, right): (Vec<_>, Vec<_>) = left
        .iter()
        .zip(right)
        .filter(|(left, right)| !bool::from(left.is_identity() | right.is_identity()))
        .map(|(left, right)| (*left.to_affine().as_ref(), *right.to_affine().as_ref()))
        .unzip();
    left.is_empty() || blst_fp12::miller_loop_n(&right, &left).final_exp() == blst_fp12::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn_g1(first: u8) -> G1 {
        let x = |last| {
            let mut x = [0; G1_SIZE];
            (x[1], x[G1_SIZE - 1]) = (first, last);
            x
        };
        (0..=u8::MAX)
            .find_map(|last| point_of_g1(x(last), false))
            .unwrap()
    }

    fn drawn_g2() -> G2 {
        let x = |last| {
            let mut x = [0; G2_SIZE];
            x[G2_SIZE - 1] = last;
            x
        };
        (0..=u8::MAX)
            .find_map(|last| point_of_g2(x(last), true))
            .unwrap()
    }

    #[test]
    fn drawn_points_lie_in_the_subgroup() {
        let (g1, g2) = (drawn_g1(1), drawn_g2());
        assert_eq!(decode_g1(&g1.to_compressed()), Some(g1));
        assert_eq!(decode_g2(&g2.to_compressed()), Some(g2));
    }

    #[test]
    fn weights_and_scalars_multiply_alike() {
        let point = drawn_g1(2);
        for factor in [0, 1, 2, 255, 256, u64::MAX] {
            let factor = Scalar::from(factor);
            assert_eq!(multiply(point, &factor), point * factor);
            assert_eq!(multiply(point, &-factor), -(point * factor));
            assert_eq!(multiply_sum(&[point], &[factor]), point * factor);
        }
    }

    #[test]
    fn pairings_cancel_out() {
        let (g1, g2, two) = (drawn_g1(3), drawn_g2(), Scalar::from(2));
        assert!(pairings_product_is_one(&[], &[]));
        assert!(pairings_product_is_one(&[G1::identity()], &[g2]));
        assert!(pairings_product_is_one(&[g1 * two, -g1], &[g2, g2 * two]));
        assert!(!pairings_product_is_one(&[g1, -g1], &[g2, g2 * two]));
    }

    #[test]
    fn other_sizes_are_nothing() {
        assert_eq!(decode_g1(&[0xc0; G1_SIZE + 1]), None);
        assert_eq!(decode_g2(&[0xc0; G1_SIZE]), None);
        assert_eq!(decode_scalar(&[0; SCALAR_SIZE - 1]), None);
    }
}
