"""Time from the order of `sigmill keys retire` or `revoke` to the last signature by that version: two workers under load.

By the workers' own logs. The second worker has the old file, so that the operator's order alone stops it. An outcome is in the
log after its signatures were made: the time that is measured is never shorter than the true one. From the start of the command it is
longer by the start of Python and the checks of the file, which is said beside it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.load.flows import FlowFailed, load_process
from bench.load.messages import Endless, Rest
from bench.report.data import at_most
from bench.testbed.config_files import BenchTenant
from queueing.aio.runner import run
from queueing.coordination import stop_order_feed
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.stop_orders import read_order
from queueing.redis.connection import with_connection
from queueing.unix_time import unix_ms
from workers.audit.job_history import event_of
from workers.config.service_file import load_service
from workers.dev.tenants import KEY
from workers.journal.records import OutcomeRecord, decode_record
from workers.journal.segments import read_segment, segments_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.session import Session
    from bench.testbed.testbed import BenchTestbed

COMMANDS: Final = ("retire", "revoke")
ROUNDS: Final = {"quick": 1, "full": 5}
"""Of each command. Each round ends the only version of a tenant of its own."""

WORKERS: Final = 2
WITHIN_S: Final = 1.0
LOAD_AHEAD_S: Final = 2.0
LOAD_BEHIND_S: Final = 2.0
LOAD_SIZE: Final = 64
COMMAND_TIMEOUT_S: Final = 60.0


def version_ends(session: Session, operator_table: str, operator_key: Path) -> None:
    """Median and worst for each command; ``operator_table``: TOML of the operator `bench`, for the workers' files."""
    rounds = ROUNDS[session.pace.name]
    tenants = {
        command: [
            BenchTenant(name=f"{command}-{i}", kind=KeyKind.P256, verify_after_sign=False, lanes=1)
            for i in range(rounds)
        ]
        for command in COMMANDS
    }
    every = [tenant for group in tenants.values() for tenant in group]
    with session.testbed(every, workers=WORKERS, service=operator_table) as testbed:
        for command, group in tenants.items():
            ends = [_end(testbed, tenant, command, operator_key) for tenant in group]
            ordered = [end.last_ms - end.ordered_ms for end in ends]
            started = [end.last_ms - end.began_ms for end in ends]
            name = f"keys {command} on two workers under load, from the order to the last signature"
            note = (
                f"from the start of the command: median {statistics.median(started) / 1000:.2f} s,"
                f" worst {max(started) / 1000:.2f} s"
            )
            session.say(f"keys {command}, {note}")
            session.threshold(
                at_most(f"{name}, median", statistics.median(ordered) / 1000, WITHIN_S, unit="s", note=note)
            )
            session.threshold(at_most(f"{name}, worst", max(ordered) / 1000, WITHIN_S, unit="s", note=note))


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionEnd:
    """Times of an end in Unix ms: start of the command, its order, and the last outcome with signatures."""

    began_ms: int
    ordered_ms: int
    last_ms: int


def _end(testbed: BenchTestbed, tenant: BenchTenant, command: str, operator_key: Path) -> VersionEnd:
    config = testbed.directory / "sigmill-1.toml"
    with load_process(testbed, tenant) as load:
        load.order(Endless(size=LOAD_SIZE))
        load.answer()
        time.sleep(LOAD_AHEAD_S)
        began_ms = unix_ms()
        done = subprocess.run(
            [
                sys.executable, "-I", "-m", "workers.cli", "keys", command, "--config",
                str(config), "--tenant", tenant.name, "--key", f"{KEY}/1",
                "--operator", "bench", "--operator-key", str(operator_key), "--json",
            ],
            capture_output=True, text=True, check=False, timeout=COMMAND_TIMEOUT_S,
        )  # fmt: skip
        time.sleep(LOAD_BEHIND_S)
        load.order(Rest())
        load.answer()
    stop = json.loads(done.stdout)["stop"] if done.returncode == 0 else {}
    if len(stop.get("adopted_by", ())) != WORKERS:
        raise FlowFailed(f"keys {command} was not confirmed by {WORKERS} workers: {done.stderr:.500}")
    logs = [testbed.directory / f"state-{number}" / "wal" for number in range(1, WORKERS + 1)]
    times_ms = [list(signed_at_ms(log, tenant.name)) for log in logs]
    for number, made_ms in enumerate(times_ms, start=1):
        if not any(at_ms < began_ms for at_ms in made_ms):
            raise FlowFailed(f"worker {number} signed nothing before keys {command}")
    return VersionEnd(
        began_ms=began_ms,
        ordered_ms=_ordered_at_ms(config, stop["order"]),
        last_ms=max(max(made_ms) for made_ms in times_ms),
    )


def _ordered_at_ms(config: Path, order_id: str) -> int:
    """Time in the operator's order, which was signed right before it was sent."""
    service = load_service(config)
    orders = run(with_connection(service.redis, lambda redis: stop_order_feed.poll(redis, ())))
    return read_order(orders.new[bytes.fromhex(order_id)], service.audience).issued_at_ms


def signed_at_ms(log: Path, tenant: str) -> Iterator[int]:
    """Times of the outcomes of this tenant with signatures, also of those that were made and then dropped (Unix ms)."""
    for file in segments_of(log):
        for payload in read_segment(file):
            record = decode_record(payload)
            if isinstance(record, OutcomeRecord) and record.tenant == tenant:
                event = event_of(record)
                if event.signed or event.dropped:
                    yield record.at_ms
