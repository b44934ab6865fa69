"""The daemon: its command, options, settings and process."""
