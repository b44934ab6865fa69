"""What every backend must do, as suites of tests."""
