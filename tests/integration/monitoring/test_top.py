"""``sigmill top`` on a stack at work: from its pages, from Prometheus, on a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.farm.farm import digests
from tests.support.monitoring.watched_rig import Watched
from tests.support.ports import free_port
from tests.support.sigmill_cli import Ran, sigmill
from tests.support.waiting import PATIENCE_S, until_async


@contextlib.asynccontextmanager
async def under_load(watched: Watched) -> AsyncIterator[None]:
    """Both tenants sign all the time."""

    async def sign(tenant: str) -> None:
        async with watched.rig.client(tenant) as client:
            while True:
                _ = [outcome async for outcome in client.sign_many("release", digests(64), timeout_s=60)]

    tasks = [asyncio.create_task(sign(tenant)) for tenant in ("acme", "globex")]
    try:
        await until_async(
            lambda: all(
                watched.worker.metric("sigmill_signatures_total", tenant=tenant) > 0
                for tenant in ("acme", "globex")
            ),
            "both sign",
        )
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def top(*words: str) -> Ran:
    return await asyncio.to_thread(sigmill, "top", *words)


async def test_pages_and_prometheus_show_the_same_cluster(watched: Watched) -> None:
    """Rates, waits and backlogs by tenant, sessions and circuits by token, and the worker: from either source."""
    async with under_load(watched):
        config = str(watched.config)
        pages = await top("--config", config, "--once", "--json", "--interval", "2s")
        asked = ["--prometheus", watched.prometheus_url, "--window", "4s"]
        deadline = time.monotonic() + PATIENCE_S
        while True:  # two scrapes of everything must be within the window
            prometheus = await top(*asked, "--once", "--json")
            if prometheus.code == 0 and _is_load_shown(prometheus.json()[0]):
                break
            assert time.monotonic() < deadline, prometheus
        asked += ["--match", "job=sigmill-worker"]
        (workers_alone,) = (await top(*asked, "--once", "--json")).json()
    assert pages.code == 0, pages
    assert workers_alone["total"]["workers"] == 1
    assert workers_alone["total"]["redis_up"] is None, "the exporter's series have another job's name"
    for source in (pages.json()[0], prometheus.json()[0]):
        _is_this_cluster(source, watched)


def _is_load_shown(view: dict[str, Any]) -> bool:
    """Whether the window has begun and counted work of both tenants."""
    at_work = {
        row["tenant"] for row in view["tenants"] if (row["signatures_per_s"] or 0) > 1 and row["wait_p99_s"]
    }
    return {"acme", "globex"} <= at_work and (view["total"]["signatures_per_s"] or 0) > 10


def _is_this_cluster(view: dict[str, Any], watched: Watched) -> None:
    total = view["total"]
    assert view["problems"] == []
    assert 1 < view["window_s"] < 10
    assert (total["workers"], total["redis_up"], total["log_failing"]) == (1, True, 0)
    assert total["signatures_per_s"] > 10
    assert 0 < total["wait_p50_s"] <= total["wait_p99_s"] < 30
    assert 0 < total["job_p50_s"] <= total["job_p99_s"] < 60
    tenants = {row["tenant"]: row for row in view["tenants"]}
    assert {"acme", "globex"} <= tenants.keys()
    for name in ("acme", "globex"):
        assert tenants[name]["signatures_per_s"] > 1
        assert tenants[name]["wait_p99_s"] > 0
    by_tenant = sum(row["signatures_per_s"] for row in tenants.values())
    assert by_tenant == pytest.approx(total["signatures_per_s"])
    tokens = {row["token"]: row for row in view["tokens"]}
    assert tokens["acme"]["sessions"] >= 1
    assert tokens["acme"]["digests_per_chunk"] >= 1
    assert tokens["acme"]["circuit"] == "closed"
    (worker,) = view["workers"]
    assert worker["instance"] == f"127.0.0.1:{watched.worker.port}"
    assert worker["ready"] is True


async def test_a_terminal_is_drawn_again_and_again(watched: Watched) -> None:
    """On the alternate screen, within its size; Ctrl-C ends it in order, and the screen is given back."""
    async with under_load(watched):
        await asyncio.to_thread(_watch_in_a_terminal, watched)


def _watch_in_a_terminal(watched: Watched) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "workers.cli", "top", "--config", watched.config, "--interval", "0.3"],
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**os.environ, "COLUMNS": "100", "LINES": "30"},
    )
    os.close(theirs)
    try:
        seen = _read_until(ours, lambda text: text.count("\x1b[2J") >= 3)
        process.send_signal(signal.SIGINT)
        seen += _read_until(ours, lambda text: "\x1b[?1049l" in text)
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.communicate()
        os.close(ours)
    assert seen.startswith("\x1b[?1049h")
    picture = seen.split("\x1b[2J")[2]
    lines = re.sub(r"\x1b\[[?0-9]*[a-zA-Z]", "", picture).splitlines()
    assert lines[0].startswith("sigmill top  ")
    assert len(lines) <= 30
    assert max(len(line) for line in lines) <= 100
    for beginning in ("TENANT", "acme", "globex", "TOKEN", "WORKER", f"127.0.0.1:{watched.worker.port}"):
        assert any(line.startswith(beginning) for line in lines), (beginning, lines)


def _read_until(descriptor: int, enough: Any) -> str:
    text, deadline = "", time.monotonic() + 30
    while not enough(text):
        assert time.monotonic() < deadline, text
        if select.select([descriptor], [], [], 0.2)[0]:
            text += os.read(descriptor, 65536).decode(errors="replace")
    return text


async def test_sources_that_do_not_answer_are_named(watched: Watched) -> None:
    """An exporter that is away costs its source; without any worker the exit code says so."""
    closed = f"http://127.0.0.1:{free_port()}"
    worker = f"http://127.0.0.1:{watched.worker.port}"
    partly = await top("--workers", f"{worker},{closed}", "--once", "--json", "--interval", "0.1")
    (view,) = partly.json()
    assert partly.code == 0
    assert view["total"]["redis_up"] is None
    assert view["total"]["backlog_digests"] is None
    assert [closed.partition("//")[2] in problem for problem in view["problems"]] == [True]
    away = await top("--workers", closed, "--once", "--interval", "0.1")
    assert away.code == 75
    assert "no worker found" in away.err
    gone = await top("--prometheus", closed, "--once", "--json")
    assert (gone.code, gone.error()["code"]) == (75, "metrics.unavailable")
    stranger = await top("--prometheus", worker, "--once", "--json")
    assert (stranger.code, stranger.error()["retryable"]) == (75, True)
    wrong = await top("--workers", "worker:9464", "--once", "--json")
    assert (wrong.code, wrong.error()["code"]) == (2, "config.invalid")


async def test_without_a_terminal_it_is_text_once(watched: Watched) -> None:
    """A pipe or a file gets one picture."""
    ran = await top("--config", str(watched.config), "--interval", "0.2")
    assert ran.code == 0
    assert ran.out.count("TENANT") == 1
    assert "\x1b" not in ran.out
