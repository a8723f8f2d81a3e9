"""Background tasks of the signing service.

backlog_caps_publisher  caps of tenants, for the submit script
canary_prober           signs a constant with each token in use
clock_watch             this host's clock and Redis'
directory_publisher     signed key directories, for clients
event_collector         events of commands, from their spool into the log
hindrance_publisher     tenants that this worker signs nothing for, and why
lane_records            starts, ends and calls of lanes, for the log
log_retention           deletes old segments of the log
record                  folder: the record's sealer, certification, receipts and metrics
refused_pin_sync        PINs that were refused on other hosts
registration            entry of this worker in the list of workers
stop_order_sync         stop orders: receive, verify, apply, store, publish

Must never import ``workers.intake``, ``workers.pipeline``, ``workers.composition`` or ``workers.service``.
"""
