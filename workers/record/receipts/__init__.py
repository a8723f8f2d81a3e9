"""Receipts of jobs whose clients asked for them, from the sealer to the worker that publishes them.

requests  jobs whose client asked for a receipt
maker     their proofs, against a certified checkpoint
outbox    files in which the sealer hands these to its worker

Must never import ``workers.record.sealer``, ``workers.record.sequencer``, nor what ``workers.record`` must not.
"""
