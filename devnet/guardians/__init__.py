"""Embedded guardians of one federation, with the rules of real ones."""
