"""Files generated from code: reference pages, Prometheus rules, dashboards and console pages.

pages       ``docs/reference``
prometheus  ``ops/prometheus``: rules and alerts
dashboards  ``ops/grafana`` and the console pages
files       the generated files by path

``make generate`` writes the files; a test compares each with the text that would be written. It never imports ``tests``,
and nothing that is shipped imports it.
"""
