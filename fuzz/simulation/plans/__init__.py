"""What a seed decides: steps as values, and who draws them."""
