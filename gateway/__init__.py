"""The application: federations joined, treasury, payments as inputs to the engine."""
