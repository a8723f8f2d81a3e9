"""Reports of workers, as they register in Redis."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from queueing.coordination.worker_registry import WorkerInfo

_REPORT = WorkerInfo(
    owner="h1.7.aa",
    host="h1",
    pid=7,
    version="1.0",
    since_ms=1_700_000_000_000,
    epoch=3,
    tenants=2,
    ready=True,
    draining=False,
    jobs_in_flight=0,
    lanes=2,
    sessions=8,
)


def worker_info(owner: str = "h1.7.aa", **changes: Any) -> WorkerInfo:
    """Report of a ready worker, with these fields changed; its host is the first part of ``owner``."""
    return replace(_REPORT, **{"owner": owner, "host": owner.partition(".")[0], **changes})
