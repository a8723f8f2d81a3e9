"""workers/cli/processes: see docs of the parent package."""
