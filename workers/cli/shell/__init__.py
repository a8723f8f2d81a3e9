"""workers/cli/shell: see docs of the parent package."""
