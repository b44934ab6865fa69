"""What takes much processor time in Python. Raises ImportError when the library was built without `accel`."""

from fedimint_gateway_native._native import accel

G1Point = accel.G1Point
G2Point = accel.G2Point
find_tweak = accel.find_tweak
find_tweak_now = accel.find_tweak_now
multiply_sum_g1 = accel.multiply_sum_g1
pairing_check = accel.pairing_check
point_of_g1 = accel.point_of_g1
point_of_g2 = accel.point_of_g2

__all__ = [
    "G1Point",
    "G2Point",
    "find_tweak",
    "find_tweak_now",
    "multiply_sum_g1",
    "pairing_check",
    "point_of_g1",
    "point_of_g2",
]
