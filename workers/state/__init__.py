"""workers/state: see docs of the parent package."""
