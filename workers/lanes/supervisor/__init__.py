"""workers/lanes/supervisor: see docs of the parent package."""
