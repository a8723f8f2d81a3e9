"""Scenarios, one family to a module; ``catalogue`` has them by name."""
