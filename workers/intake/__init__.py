"""Intake of jobs from Redis, the only way of a job to a lane. Canaries and key directories come from ``workers.background``.

claim_loop         claims when there is work and capacity; waits out outages
claim_planner      how much each tenant may claim in a round
claimer            one claim, from the request to the pipeline
held_shards        shards of Redis whose replicas do not confirm
poll_schedule      tenants of the slow poll
ready_tenants      tenants that may have jobs, and the event that wakes the loop
refusals           claims that Redis refuses although it answers
replaced_keys      foreign keys and members that claims removed: counted, and reported
suspect_isolation  tenants whose next job has to be processed alone

A second intake is a producer: a folder of its own beside this one that calls ``queueing.broker.submit.submit`` with sealed
envelopes, as the client does (HTTP: ``workers.relay``, through the client's ``RedisAccess``). The seam is that function: everything
behind it stays as it is. One that bypassed Redis would belong in this folder, and need a lease, sinks and a recovery of its own (``claimer``).

Must never import ``workers.background``, ``workers.composition`` or ``workers.service``.
"""
