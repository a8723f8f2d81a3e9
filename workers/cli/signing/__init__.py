"""workers/cli/signing: see docs of the parent package."""
