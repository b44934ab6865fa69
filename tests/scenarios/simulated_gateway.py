"""What moved to `fuzz/simulated_gateway.py`, under its old name."""

from fuzz.simulated_gateway import DieAt, Life, SimulatedGateway

__all__ = ["DieAt", "Life", "SimulatedGateway"]
