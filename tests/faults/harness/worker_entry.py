"""``sigmill`` as a test runs it: the shipped worker, with an observer at its calls to Redis.

    python -m tests.faults.harness.worker_entry NUMBER HISTORY [BROKEN] worker --config FILE

The observer writes to HISTORY what Redis answered to claims, extensions, commits and returns, and to HISTORY.blocks how many blocks
Python's allocator has given out: unlike resident memory, that is no more after a peak than before it. BROKEN names one of
``tests.faults.harness.broken_scripts``: then the worker runs that text instead of the shipped script. Nothing of this is in the
shipped packages: an operator cannot switch it on.
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from queueing.broker import claims
from queueing.broker.claims import ClaimedJob, ClaimRequest, ClaimResult, Commit, CommitStatus, Retention
from queueing.errors import QueueUnavailable, QueueUnconfirmed
from queueing.redis import scripts
from tests.faults import history
from tests.faults.harness.broken_scripts import BROKEN
from tests.faults.harness.numbered_log import number_lines
from tests.support.rig.stepped_worker import give_lanes_their_clock
from workers.cli.__main__ import main  # with the garbage collection of the shipped entry

BLOCKS_EVERY_S = 2.0


def _fence(lease: bytes) -> int:
    return int(lease.rpartition(b":")[2])


def _text(job_id: bytes) -> str:
    return job_id.decode("ascii", "replace")


class ObservedClaims(claims.Claims):
    """The four calls, and what was answered."""

    worker = ""
    recorder: history.Recorder

    async def claim(
        self, requests: Sequence[ClaimRequest]
    ) -> list[ClaimResult | QueueUnavailable | QueueUnconfirmed]:
        answers = await super().claim(requests)
        lease_s = self._lease_ms / 1000
        self.recorder.note(
            *(
                history.Claimed(
                    at=time.time(),
                    worker=self.worker,
                    tenant=job.tenant,
                    job=_text(job.job_id),
                    fence=_fence(job.lease),
                    from_s=answer.now_ms / 1000,
                    until_s=answer.now_ms / 1000 + lease_s,
                )
                for answer in answers
                if isinstance(answer, ClaimResult)
                for job in (*answer.jobs, *answer.excess)
            )
        )
        return answers

    async def extend(self, jobs: dict[str, list[ClaimedJob]]) -> list[ClaimedJob]:
        until_s = time.time() + self._lease_ms / 1000
        lost = await super().extend(jobs)
        gone = {(job.job_id, job.lease) for job in lost}
        self.recorder.note(
            *(
                history.Extended(
                    at=time.time(),
                    worker=self.worker,
                    tenant=job.tenant,
                    job=_text(job.job_id),
                    fence=_fence(job.lease),
                    until_s=until_s,
                )
                for held in jobs.values()
                for job in held
                if (job.job_id, job.lease) not in gone
            )
        )
        return lost

    async def commit(
        self, commits: dict[str, list[Commit]], retention: Retention
    ) -> dict[str, list[CommitStatus] | QueueUnavailable | QueueUnconfirmed]:
        began_at = time.time()
        answers: dict[str, list[CommitStatus] | QueueUnavailable | QueueUnconfirmed] = {}
        try:
            answers = await super().commit(commits, retention)
        finally:
            self._note_commits(commits, answers, began_at)
        return answers

    def _note_commits(
        self, commits: dict[str, list[Commit]], answers: dict[str, Any], began_at: float
    ) -> None:
        for tenant, batch in commits.items():
            answer = answers.get(tenant)
            hows = [done.name.lower() for done in answer] if isinstance(answer, list) else [""] * len(batch)
            self.recorder.note(
                *(
                    history.Commit(
                        at=time.time(),
                        worker=self.worker,
                        tenant=tenant,
                        job=_text(commit.job_id),
                        fence=_fence(commit.lease),
                        began_at=began_at,
                        how=how,  # type: ignore[arg-type]  # the names of Committed
                        result=hashlib.sha256(commit.result).digest(),
                    )
                    for commit, how in zip(batch, hows, strict=True)
                )
            )

    async def nack(self, jobs: dict[str, list[ClaimedJob]], **how: Any) -> Any:
        began_at = time.time()
        self.recorder.note(
            *(
                history.GaveBack(
                    at=began_at,
                    worker=self.worker,
                    tenant=job.tenant,
                    job=_text(job.job_id),
                    fence=_fence(job.lease),
                    began_at=began_at,
                )
                for held in jobs.values()
                for job in held
            )
        )
        return await super().nack(jobs, **how)


def _break(name: str) -> None:
    """Run a broken text in place of the script's."""
    script, text = BROKEN[name].script, BROKEN[name].text(scripts._SOURCES[BROKEN[name].script])
    scripts._SOURCES[script] = text
    scripts._DIGESTS[script] = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _tell_blocks(file: Path) -> None:
    """For ever, every two seconds."""
    while True:
        with contextlib.suppress(OSError):  # a full disk is one of the faults
            file.write_text(str(sys.getallocatedblocks()))
        time.sleep(BLOCKS_EVERY_S)


def _run(number: str, file: str, words: list[str]) -> int:
    import workers.composition.foundation

    if words[0] in BROKEN:
        _break(words.pop(0))
    give_lanes_their_clock()
    ObservedClaims.worker = number
    ObservedClaims.recorder = history.Recorder(Path(file), keep=False)
    number_lines(number, ObservedClaims.recorder)
    vars(workers.composition.foundation)["Claims"] = ObservedClaims
    threading.Thread(target=_tell_blocks, args=[Path(f"{file}.blocks")], daemon=True).start()
    return main(words)


if __name__ == "__main__":
    sys.exit(_run(sys.argv[1], sys.argv[2], sys.argv[3:]))
