"""A bundle: a part of a tenant's log as a folder that proves itself, which leaves the host.

writer        a bundle from a log of this host, and the layout of its folder
earlier       files of an earlier export into the folder of a new one
others        names in a bundle that nothing reads
reader        files of a bundle from an untrusted source
verification  verification of a bundle, offline: its tree, and the meaning of its entries
upper_tiles   tiles of level 2 and above, which the root does not need
claims        intents with their outcomes and ends, and the items beside them
findings      problems, losses, and counts of what was verified
losses        entries that tell that something was lost on the host, in words
kept          checkpoints that an auditor kept, held against the log
signers       keys of envelopes: of clients, or of grants
lane_sums     calls of C_Sign that lanes report, held against their ends
search        jobs in a bundle by digest, key, client, job or time; events by kind
receipts      one digest of a bundle with its proof

Only ``writer`` reads the files of this host. Must never import ``workers.record.sealer`` or ``workers.journal``, nor what
``workers.record`` must not.
"""
