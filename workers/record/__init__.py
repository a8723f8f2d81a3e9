"""The record: per tenant, a tamper-evident log of what the write-ahead log of this host says.

additions      encoded entries for the logs of tenants; the entry of each event
items          digests, salts and client signatures beside the entries: the tenant's own content
sequencer      entries and items from the records of the write-ahead log, in order
open_intents   claims and canaries between their intent and their end; the sequencer's snapshot
volumes        files of one tenant's log: entries, items, hashes of the tree
stored_hashes  hashes of the tree, read from those files
follower       durable records of the write-ahead log, in order, from a place on
gaps           folder: what of that log is lost, or is not read by this build, and how the tenants' logs say so
stored_entries  entries and item rows, read from those files
pruning        old volumes are removed
retention      folder: files that say how old entries are, how long they are kept, and which are still there
bundle         folder: parts of a log that prove themselves: written, read, verified, searched
disk           folder: what is in the place of its files, and is none
integrity      folder: damage in the files of a log, found by its own hashes
folder         files that say what a record is and how far it is sealed; its layout
published      published checkpoints
heads          folder: heads that are kept in Redis, and what follows where a log has gone back behind one
replacement    a damaged record renamed, and a new one that follows it
receipts       folder: receipts of jobs that asked for them, made and handed to the worker
scrubbing      folder: the files of all logs read again, round after round
exchange       files that sealer and worker exchange: status, requests, statements
sealing        the loop of the process: signs, keeps and tells
sealer         follows the write-ahead log, and keeps and signs the tenants' logs

An entry has no digest, signature or job id. The tree is a function of the write-ahead log's bytes and of the file ``origin``
(a random secret for salts, the name of the log, the build), so that a replay after a crash gives the same bytes. What this build or this
day cannot read is a gap, which is kept before it is signed and never read again. Must never import
``workers.lanes``, ``workers.pipeline`` or anything that talks to Redis.
"""
