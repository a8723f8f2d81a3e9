"""queueing/protocol: see docs of the parent package."""
