"""A simulated Lightning network, and nodes of it with faults."""
