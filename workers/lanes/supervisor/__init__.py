"""Supervision of lanes in the worker.

registry          token pools by tenant and token; configuration reloads, drains
token_pool        lanes of one token: feeds, restarts and reports
process_group     lane processes of one token from start to exit
spawn             start a lane as a child, or connect to a host-started one
connection        frames to and from one lane, outstanding chunks
answer_reader     sizes, depths and ranges of everything that a lane sends
chunk_scheduler   which slices are sent to which lane, and what follows for those of a lost lane
batching          slices of one key and algorithm put together into chunks
circuit_breaker   pauses of a token that fails
crash_blame       crashes attributed to a job or to the token
exit_reason       classification of a lane's exit
hsm_sharing       shares of several tokens in one HSM
pending_requests  requests for directories and canaries
lane_metrics      metrics of lanes
token_identities  first owner of each token, by what the lanes report

Never imports ``pkcs11``, ``workers.hsm`` or ``workers.lanes.process``: the worker holds no PIN and no session.
"""
