"""workers/telemetry: see docs of the parent package."""
