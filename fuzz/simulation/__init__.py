"""Whole gateways simulated by seed."""
