"""The file of a log: the only place that knows a database."""
