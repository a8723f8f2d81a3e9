"""workers/background: see docs of the parent package."""
