"""queueing/config: see docs of the parent package."""
