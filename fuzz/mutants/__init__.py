"""Gateways with one rule taken out, which a simulation must catch."""
