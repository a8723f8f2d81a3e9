"""queueing/aio: see docs of the parent package."""
