"""A canned gateway, to test what speaks to one."""
