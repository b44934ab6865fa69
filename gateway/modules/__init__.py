"""What the gateway needs of a federation's modules: one file for each kind, and a row of each in `table.py`."""
