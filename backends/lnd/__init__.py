"""LND as a Lightning node of the gateway."""
