"""Random walks of all state machines on a log in memory."""
