"""Monitoring of a running cluster from outside: by its metrics, never by Redis.

samples     interface of a metrics source: rates, values and quantiles by label
scrape      metrics source: /metrics of workers and exporter, fetched twice
prometheus  metrics source: a Prometheus server that scrapes them
snapshot    state of a cluster for ``sigmill top``, from any source
screen      the snapshot as lines of text
http        bounded HTTP GET

Must never import another package of ``workers``.
"""
