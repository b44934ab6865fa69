"""Embedded users of a federation."""
