"""I4 in the exports: they hold, and every signature that a client got is in one of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from tests.faults.checker.ledger import Ledger, Violation


def invalid(ledger: Ledger) -> Iterator[Violation]:
    """Each export is verified: every outcome is behind its intent, and every envelope is a client's."""
    for problem in ledger.export_problems:
        yield Violation("I4 export does not hold", f"{problem.worker}: {problem.what}")


def unexported(ledger: Ledger) -> Iterator[Violation]:
    """Each signature that a client, or a reader of Redis, got is an item of an export. Without exports nothing is judged."""
    if not ledger.exports_read:
        return
    for job in ledger.jobs.values():
        exported = {
            pair for export in job.exported for pair in zip(export.digests, export.signatures, strict=True)
        }
        for answer in job.final:
            if answer.how != "ok" or len(answer.signatures) != len(job.digests):
                continue
            released = {
                (digest, hashlib.sha256(signature).digest())
                for digest, signature in zip(job.digests, answer.signatures, strict=True)
                if signature
            }
            if missing := released - exported:
                yield Violation("I4 released but not in the export", f"{job.job}: {len(missing)} signatures")
