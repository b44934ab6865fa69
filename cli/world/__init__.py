"""The demonstration and the development environment."""
