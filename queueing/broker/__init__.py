"""The queue: one arq queue per tenant, with claims, leases, results and dead letters.

cancel        cancellation of queued jobs by their client
claim_values  request for jobs, leased jobs, and the answer of the claim script
claims        claim, extend, commit and nack of jobs by a worker, and charging of its tenant's limits
dead_letters  jobs that the service gave up on: list, requeue, drop
doorbell      subscription that wakes a worker when a job arrives
hindrance_values  why a worker signs nothing for a tenant: values; no Redis
hindrances    why a worker signs nothing for a tenant, for its clients
job_state     state of a job
job_values    values of jobs: states, and outcomes of a cancellation; no Redis
queue_position  place of jobs in the queue, for people who wait
queue_stats   statistics of every queue, for monitoring
receipts      receipts of jobs, from the workers to the clients
stock_queue   arq's own queue: removal of values that stock arq cannot read
submissions   values of a submit: envelopes, and the queue's receipts; no Redis
submit        submit of jobs by a client

Must never import ``queueing.client``, ``queueing.coordination`` or ``workers``.
"""
