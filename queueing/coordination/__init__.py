"""queueing/coordination: see docs of the parent package."""
