"""Intake of jobs from Redis.

claim_loop         claims when there is work and capacity; waits out outages
claim_planner      how much each tenant may claim in a round
claimer            one claim, from the request to the pipeline
held_shards        shards of Redis whose replicas do not confirm
poll_schedule      tenants of the slow poll
ready_tenants      tenants that may have jobs, and the event that wakes the loop
refusals           claims that Redis refuses although it answers
suspect_isolation  tenants of which a suspect job has to be alone

Must never import ``workers.background``, ``workers.composition`` or ``workers.service``.
"""
