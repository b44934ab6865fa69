"""The client of a running gateway."""
