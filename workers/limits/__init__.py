"""Limits on tenants and keys.

fair_queueing   weighted shares of tenants in a claim round
key_budgets     digests per key and period, counted in Redis
tenant_limiter  rate limits and budgets of tenants: charge, true cost, refund
token_bucket    the worker's own rate limit on a tenant

Must never import ``workers.pipeline``, ``workers.intake``, ``workers.background`` or ``workers.service``.
"""
