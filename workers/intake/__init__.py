"""workers/intake: see docs of the parent package."""
