"""workers/cli/operate: see docs of the parent package."""
