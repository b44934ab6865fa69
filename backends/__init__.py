"""Lightning nodes behind one interface, and the conformance suite that each must pass."""
