"""queueing/files: see docs of the parent package."""
