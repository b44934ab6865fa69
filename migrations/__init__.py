"""Forward-only steps of the database, and upcasters of old events."""
