"""The native part of fedimint-gateway: one library, one module for each Cargo feature it was built with."""

from fedimint_gateway_native._native import NativeError

__all__ = ["NativeError"]
