"""Limits on tenants and keys.

fair_queueing  weighted shares of tenants in a claim round
grant_budgets  digests of grants over lanes and hosts
grant_recovery digests of grants that the write-ahead log has
key_budgets    digests per key and period, counted in Redis
log_shares     share of the log's disk that a tenant may fill in a day
rate_limiter   rate limits and daily budgets of tenants: charge, true cost, refund, hard cap

Must never import ``workers.pipeline``, ``workers.intake``, ``workers.background`` or ``workers.service``.
"""
