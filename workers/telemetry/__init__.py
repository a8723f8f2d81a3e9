"""Metrics and logs of worker and exporter.

metric_declarations  declarations of metrics: kind, name, help, labels
metrics_catalogue    all metrics of worker and exporter
edge_metrics         all metrics of the relay and of the issuer
metrics              a worker's metrics, and the methods that set them
outcome_metrics      metrics of published results
series_budget        bound on the number of time series
queue_exporter       metrics of all queues, for the exporter
http_request         head of an HTTP request, within limits
http_pages           /metrics, /healthz and /readyz, within a share of the CPU
http_server          the server of these pages
json_logs            JSON log lines and their levels
log_writer           log lines to stderr by a thread, from a bounded queue
child_output         words of a child on its stderr, read and logged
log_events           all log events: level, meaning, fields
job_log              log lines of claimed, released and requeued jobs

Must never import ``workers.lanes``, ``workers.pipeline`` or ``workers.cli``.
"""
