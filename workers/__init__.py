"""The side that signs.

worker, service   one process of a host: arq's worker, and the signing service beside its loop
intake            from the queue: what is claimed, and when; routing, handover: to its lanes
release           from the lanes back to the client
job_in_work       a claimed job between the two
lanes             the processes that hold a token's sessions
hsm               PKCS#11, and the only place that imports it
audit             the write-ahead log: nothing is released that is not in it
config            what the operator decided; administration: keys, clients and tokens at the operator's hands
metrics, exporter what is counted, and how it is served; logs: how it is told
cli               ``sigmill``; dev: a whole stack on one machine
"""
