"""The lifecycles of payments and transactions, one file each, pure."""
