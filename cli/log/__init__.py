"""`gatewayd log`: a tool a file."""
