"""What is written from code: the metrics' reference page, Prometheus' rules, dashboards and console pages.

``make generate`` writes the files; a test compares each with what would be written.
"""
