"""The kinds of Lightning node that gatewayd runs on: a file each, and one table of them."""
