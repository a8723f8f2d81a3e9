"""What commands see of a running cluster, from outside: metrics, never Redis.

figures      rates, values and quantiles of metrics by label, whatever they come from
pages        from the ``/metrics`` pages of workers and exporter, fetched twice
prometheus   from a Prometheus that scrapes them
view         what ``sigmill top`` shows, of any of these
screen       the view as lines of text
"""
