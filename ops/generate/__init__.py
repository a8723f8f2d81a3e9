"""Files generated from code: reference pages, Prometheus rules, dashboards and console pages.

``make generate`` writes the files; a test compares each with what would be written.
"""
