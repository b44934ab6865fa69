# What module/src/ defines, and describes.

import py_arkworks_bls12381 as arkworks

class NativeError(Exception): ...

class accel:  # noqa: N801 - a module in truth, which a stub can only show like this
    # The points are of classes that have the shape of arkworks', as far as the gateway uses it.
    G1Point: type[arkworks.G1Point]
    G2Point: type[arkworks.G2Point]

    @staticmethod
    def find_tweak(tweak_filter: bytes, start: bytes, tries: int) -> bytes | None: ...
    @staticmethod
    def multiply_sum_g1(
        points: list[arkworks.G1Point], scalars: list[arkworks.Scalar]
    ) -> arkworks.G1Point: ...
    @staticmethod
    def pairing_check(
        g1_points: list[arkworks.G1Point], g2_points: list[arkworks.G2Point]
    ) -> bool: ...
    @staticmethod
    def point_of_g1(x: bytes, flip: bool) -> arkworks.G1Point | None: ...
    @staticmethod
    def point_of_g2(x: bytes, flip: bool) -> arkworks.G2Point | None: ...
