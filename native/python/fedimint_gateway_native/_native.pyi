# What src/lib.rs defines, and describes.

class NativeError(Exception): ...

class accel:  # noqa: N801 - a module in truth, which a stub can only show like this
    @staticmethod
    def find_tweak(tweak_filter: bytes, start: bytes, tries: int) -> bytes | None: ...
