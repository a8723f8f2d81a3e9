"""queueing/redis: see docs of the parent package."""
