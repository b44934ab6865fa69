"""Commands for people in an embedded world."""
