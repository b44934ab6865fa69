"""Errors of reading and writing the federation protocol."""

from errors import InputError


class DecodeError(InputError):
    """Foreign bytes or text that are not a valid encoding of what was expected."""


class EncodeError(InputError):
    """A value that the wire format cannot express, such as an amount above 64 bits."""
