"""Encodings, ids and text forms."""
