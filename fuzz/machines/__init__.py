"""All state machines on a log in memory, walked by chance."""
