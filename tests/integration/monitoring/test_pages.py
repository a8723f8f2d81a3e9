"""Pages and logs of a worker: metrics, health, readiness, JSON lines."""

from __future__ import annotations

import http.client
import json
import subprocess

from tests.support.farm.farm import digests
from tests.support.rig.shared_rig import SharedRig
from tests.support.tools import tool
from tests.support.waiting import until_async


async def sign_some(shared_rig: SharedRig, tenant: str, count: int) -> None:
    async with shared_rig.rig.client(tenant) as client:
        _ = [outcome async for outcome in client.sign_many("release", digests(count), timeout_s=60)]


async def test_promtool_finds_nothing_in_the_metrics_page(shared_rig: SharedRig) -> None:
    """promtool accepts the page with traffic of two tenants."""
    await sign_some(shared_rig, "acme", 10)
    await sign_some(shared_rig, "globex", 10)
    status, page = shared_rig.worker.get("/metrics")
    assert status == http.client.OK
    done = subprocess.run(
        [tool("promtool"), "check", "metrics"],
        input=page,
        text=True,
        check=False,
        capture_output=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


async def test_signatures_and_times_are_counted_by_tenant_and_algorithm(shared_rig: SharedRig) -> None:
    """A hundred signatures are a hundred more, and each stage was timed."""

    def signed() -> float:
        return shared_rig.worker.metric(
            "sigmill_signatures_total", tenant="globex", algorithm="ECDSA_SHA_256"
        )

    worker = shared_rig.worker
    await until_async(lambda: worker.metric("sigmill_jobs_in_flight") == 0, "all of earlier tests is counted")
    before = signed()
    await sign_some(shared_rig, "globex", 100)
    await until_async(lambda: signed() == before + 100, "all are counted")
    for name in ("queue_wait_seconds", "job_seconds"):
        assert shared_rig.worker.metric(f"sigmill_{name}_count", tenant="globex") > 0, name
    for name in ("lane_chunk_seconds", "chunk_digests"):
        assert shared_rig.worker.metric(f"sigmill_{name}_count", token="globex") > 0, name
    assert shared_rig.worker.metric("sigmill_sessions", token="globex") >= 1
    assert shared_rig.worker.metric("sigmill_log_sync_seconds_count") > 0


async def test_labels_hold_nothing_of_a_single_job(shared_rig: SharedRig) -> None:
    """No digest, job id or fingerprint is on the page, and no line of a metric is long."""
    await sign_some(shared_rig, "acme", 10)
    page = shared_rig.worker.get("/metrics")[1]
    fingerprint = shared_rig.rig.tokens["acme"].keys["acme.release.v1"].sha256.hex()
    assert fingerprint not in page
    assert "{acme}" not in page
    assert not any(digest.hex() in page for digest in digests(10))
    assert all(len(line) < 200 for line in page.splitlines() if not line.startswith("#"))


def test_probes_answer(shared_rig: SharedRig) -> None:
    """Alive and ready; anything else on that port is not found."""
    assert shared_rig.worker.get("/healthz") == (http.client.OK, "ok\n")
    assert shared_rig.worker.get("/readyz") == (http.client.OK, "ok\n")
    assert shared_rig.worker.get("/")[0] == http.client.NOT_FOUND


async def test_every_line_of_the_log_is_one_json_object(shared_rig: SharedRig) -> None:
    """With a time, a level and an event, from worker and lanes alike."""
    await sign_some(shared_rig, "acme", 10)
    lines = [json.loads(line) for line in shared_rig.worker.log().splitlines()]
    assert lines
    assert all({"ts", "level", "logger", "event"} <= line.keys() for line in lines)
    assert {"service.started", "lane.ready"} <= {line["event"] for line in lines}
