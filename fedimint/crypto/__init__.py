"""Curves, blind signatures, secrets."""
