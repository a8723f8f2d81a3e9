"""Wire forms and the values in them. A lane loads this too.

algorithms     signing algorithms and the kinds of keys that fit them
client_keys    key pairs of clients: sign and verify envelopes
der            DER (X.690): writing, and strict reading
certificates   certificates from outside, read whole
envelope       signed request for up to 1,024 digests
grants         permissions of an issuer for ephemeral keys, and requests for them
jobs           jobs and results as arq keeps them
key_directory  keys of a tenant, signed by the service key
keyspace       names of keys and channels in Redis
limits         rate, budget and backlog caps of a tenant
names          names of tenants, keys and clients
priorities     order of a tenant's own jobs
public_keys    public keys, and verification of signatures
signing_costs  cost of a signature for the rate limit
stop_orders    signed orders that stop a tenant, key or client
version_details  creation time and further chains of a key version on the wire

Must never import redis, arq, or anything else of ``queueing`` but ``ed25519``, ``errors`` and ``files``.
"""
