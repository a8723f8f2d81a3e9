"""Supervision of lanes in the worker.

registry          token pools by tenant and token; configuration reloads, drains
token_pool        lanes of one token: feeds, restarts and reports
pool_status       what others may ask about a pool
process_group     lane processes of one token from start to exit
spawn             start a lane as a child, or connect to a host-started one
connection        frames to and from one lane, outstanding chunks
answer_reader     sizes, depths and ranges of everything that a lane sends
chunk_scheduler   which slices are sent to which lane
batching          slices of one key and algorithm put together into chunks
circuit_breaker   pauses of a token that fails
lost_lane         cause of a lane's end, who is blamed, and what follows for its chunks
hsm_sharing       shares of several tokens in one HSM
pending_requests  requests for directories and canaries
lane_metrics      metrics of lanes
token_identities  first owner of each token, and objections to lanes that report another one

Never imports ``pkcs11``, ``workers.hsm`` or ``workers.lanes.process``: the worker holds no PIN and no session.
"""
