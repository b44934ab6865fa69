"""`gatewayd fuzz`: campaigns, simulations, explorations."""
