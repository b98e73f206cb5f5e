"""Training of hearth, the assistant that comes with Whittle."""
