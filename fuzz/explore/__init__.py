"""Searches every interleaving of one payment up to a bound, where simulations draw one at random."""
