"""The relay: HTTPS that takes sealed envelopes and gives results back, for clients that have no Redis (ADR 0049).

settings       ``relay.toml``
checking       check of that file, for an operator
admission      bounds on requests and waiting clients; what is beyond them is shed
shares         what a tenant may have of them beside others
waiting        clients that wait for results, by job
tenant_queue   one tenant's queue in Redis, and the loops that bring results to its waiting clients
endpoints      operations of the protocol: a request's body in, an answer out
site           the relay as a site of an HTTPS server (`workers.https`): answers for every error
process        the process: start, readiness, drain

It holds no key and judges no envelope: the lane does. Must never import ``workers.lanes``, ``workers.pipeline``, ``workers.hsm``
or ``workers.cli``.
"""
