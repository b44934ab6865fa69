"""A simulated node, served as an LND."""
