"""Prometheus rules in ``ops/prometheus``.

alert          an alert rule as data, and the dashboards that alerts link to
alerts         list of the symptom alerts
tenant_alerts  backlog, limits and dead letters of a tenant
token_alerts   a token: circuit breaker, PIN, lanes, load, canary
worker_alerts  a worker: write-ahead log, record, clock, readiness
redis_alerts   Redis and the exporter
edge_alerts    issuers and relays
expiry_alerts  certificates and client keys
clock          durations in rules, divided by one factor for a drill
objectives     service level objectives by tenant class, and their burn rates
rules          the rule files: recorded series, burn-rate alerts, symptom alerts

It never imports ``ops.generate.pages`` or ``ops.generate.dashboards``.
"""
