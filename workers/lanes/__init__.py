"""Lanes: processes that hold the sessions of a token, and the worker's supervision of them.

protocol       frames between worker and lane
authorisation  rules by which an envelope is authorised; used by the lane, and by the worker's router
signatories    makers of envelopes: clients, and holders of grants
grant_usage    digests that were signed under each grant, and their cap
canary         constant that a canary signs, and the keys that it tries
operations     numbers of C_Sign calls by key version; used by the lane, and by the worker
exit_codes     exit codes of a lane
process/       in the lane's process: login, session threads, execution of chunks, policy in force
supervisor/    in the worker: registry of token pools, scheduling, restarts, circuit breakers

``python -m workers.lanes`` starts a lane. Never imports Redis; only ``process/`` imports ``workers.hsm``, and
``__main__`` its ``process_hardening``, which loads no PKCS#11.
"""
