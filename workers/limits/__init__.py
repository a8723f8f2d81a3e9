"""workers/limits: see docs of the parent package."""
