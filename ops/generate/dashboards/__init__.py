"""Dashboards in ``ops/grafana`` and console pages in ``ops/prometheus/consoles``.

boards    the dashboards
edge_board  that of relays and issuers
panels    a dashboard as data: panels, units, queries
grafana   Grafana's JSON, written with grafana-foundation-sdk
consoles  the same dashboards as console pages of Prometheus

It never imports ``ops.generate.pages`` or ``ops.generate.prometheus``.
"""
