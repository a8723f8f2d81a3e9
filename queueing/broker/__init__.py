"""queueing/broker: see docs of the parent package."""
