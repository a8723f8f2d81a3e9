"""Dashboards in ``ops/grafana`` and console pages in ``ops/prometheus/consoles``.

boards          list of the dashboards
overview_board  the cluster at a glance
tenant_board    a tenant
hsm_board       a token
queue_board     Redis and the queues
worker_board    a worker
edge_board      relays and issuers
panels          a dashboard as data: panels, units, queries
grafana         Grafana's JSON, written with grafana-foundation-sdk
consoles        the same dashboards as console pages of Prometheus

It never imports ``ops.generate.pages`` or ``ops.generate.prometheus``.
"""
