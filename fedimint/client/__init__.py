"""Connections to guardians, and asking all of them."""
