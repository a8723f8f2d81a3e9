"""queueing/client/delivery: see docs of the parent package."""
