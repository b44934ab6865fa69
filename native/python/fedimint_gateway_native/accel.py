"""What takes much processor time in Python. Raises ImportError when the library was built without `accel`."""

from fedimint_gateway_native._native import accel

find_tweak = accel.find_tweak

__all__ = ["find_tweak"]
