"""Fuzzing: properties of hostile input, simulations of the whole gateway, and campaigns over seeds.

For this gateway and for others that import it; needs Hypothesis, which the extra `fuzz` installs.
"""
