"""Gateways with one rule disabled, which a simulation must catch."""
