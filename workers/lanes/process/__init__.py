"""workers/lanes/process: see docs of the parent package."""
