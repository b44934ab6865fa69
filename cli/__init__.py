"""The commands gatewayd and gateway-cli."""
