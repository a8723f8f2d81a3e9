"""workers/cli/status: see docs of the parent package."""
