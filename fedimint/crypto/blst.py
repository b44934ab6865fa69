"""BLS12-381 by blst, of the native part. Importing it raises ImportError where that is not installed."""

from functools import partial
from typing import Final

from fedimint_gateway_native.accel import (
    G1Point,
    G2Point,
    multiply_sum_g1,
    pairing_check,
    point_of_g1,
    point_of_g2,
)

from fedimint.crypto.curve import Curve, Scalar, draw_g1, draw_g2

__all__ = ["BLST"]

BLST: Final = Curve(
    G1Point,
    G2Point,
    Scalar,
    multiply_sum_g1,
    pairing_check,
    partial(draw_g1, point_of_g1),
    partial(draw_g2, point_of_g2),
)
