"""Pipeline of a claimed job: to the lanes, and from them to Redis.

committer          commit under the lease, repeated until Redis answers; concludes each job
dispatcher         to the lanes: charge, key budgets, durable intent
lease_keeper       extends the leases of active jobs, in a thread
forgeries          guard of the log against forged envelopes: which ones are verified before their intents
unauthenticated    jobs that no client was found to have signed: counted and sampled
recovered_results  outcomes that a former process left
refusal_review     refusals that a newer file of the tenant may not have: back to the queue
result_publisher   to the client: durable outcome, then the committer
retry              back to the queue, unsigned: nack, delay, reason
router             the token of a job
settlement         last step of every job: budgets, limits, lease, claim loop

Must never import ``workers.intake``, ``workers.background`` or ``workers.service``.
"""
