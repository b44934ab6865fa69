"""BLS12-381 by blst, of the native part. Importing it raises ImportError where that is not installed."""

from functools import partial
from typing import Final

from fedimint_gateway_native import accel

from fedimint.crypto.curve import Curve, Scalar, draw_g1, draw_g2

__all__ = ["BLST"]

BLST: Final = Curve(
    accel.G1Point,
    accel.G2Point,
    Scalar,
    accel.multiply_sum_g1,
    accel.pairing_check,
    partial(draw_g1, accel.point_of_g1),
    partial(draw_g2, accel.point_of_g2),
)
