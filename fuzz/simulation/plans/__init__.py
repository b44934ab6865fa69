"""What a seed decides: steps as values, and how they are drawn."""
