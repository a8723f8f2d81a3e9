"""workers/journal: see docs of the parent package."""
