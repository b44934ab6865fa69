"""The development world: embedded guardians and Lightning network, and the real peers' harness."""
