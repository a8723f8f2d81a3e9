"""workers/lifecycle: see docs of the parent package."""
