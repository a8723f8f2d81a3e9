"""Formats of a tamper-evident log: RFC 6962 tree, and C2SP's notes, checkpoints, tiles and proofs.

merkle       hashes of leaves and nodes; the right edge of a growing tree
proofs       inclusion and consistency proofs: build from stored hashes, verify
tiles        paths and contents of tiles and entry bundles (tlog-tiles)
notes        signed notes and their verifier keys (signed-note)
checkpoints  tree heads as signed notes (tlog-checkpoint)
commitments  what an entry says of digests without showing them
entries      entries of a tenant's log, as msgpack arrays
event_entries  entries of events that are no job
origin_statements  the service key certifies the key of a log's checkpoints
signed_heads  a checkpoint with the statement about its key, as Redis keeps it
short_statements  such a statement without what a checkpoint beside it says too
proof_files  a proof with its checkpoint in one text (tlog-proof)
job_proofs   proof of a job's outcome, from which receipts of its digests are made
receipts     one digest with its proof
trusted_keys  keys by which receipts are verified

Pure functions of bytes: no files, no Redis, no event loop. Must never import anything else of ``queueing`` but ``errors``.
"""
