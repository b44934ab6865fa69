"""The development world: embedded guardians and Lightning network, and the harness of real peers."""
