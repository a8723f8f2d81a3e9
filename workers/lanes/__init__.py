"""Lanes: the processes that hold a token's sessions, and the worker's side of them.

frames            what travels between the two sides
authorisation     what an envelope may have signed: decided in the lane, by its own reading of the configuration
lane              the lane process: PIN, module, login, sessions, reader
runs              a chunk cut into runs, and put together again
session_threads   one thread per session, and the watch over hung calls
refused_pins      a PIN that was refused once is not tried again
hardening         no core dumps, no tracing, no life after the worker

batching          the worker's side: jobs of one key coalesce into chunks
launch, link      start or find a lane; speak with it
lane_group        the running lanes of one token, from start to end; observer: who counts them
dispatch          what waits for them, and what becomes of what a lost lane had
circuit           a token in doubt is left alone
token_lanes       the three together: all lanes of one (tenant, token); directory_requests: the service's own
roster            all of them, by tenant and token; hsm_shares: those that share a device
"""
