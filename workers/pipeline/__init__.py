"""workers/pipeline: see docs of the parent package."""
