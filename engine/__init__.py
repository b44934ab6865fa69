"""Event log, machines, effects and replay. Knows nothing of bitcoin, HTTP or the wall clock."""
