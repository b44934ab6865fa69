"""Steps as deeds."""
