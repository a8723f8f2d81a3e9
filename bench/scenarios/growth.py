"""Growth of CPU and memory with the backlog, the number of tenants and the number of workers."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.alternation import alternate
from bench.load.flows import SigmillFlow, in_envelopes
from bench.queue.backlog import Backlog, Step, fill
from bench.report.data import Growth, GrowthPoint, at_most, number
from bench.session import Session
from bench.testbed.config_files import BenchTenant
from bench.testbed.testbed import BenchTestbed
from queueing.client.identity.credentials import StaticIdentity
from queueing.client.signing_request import EnvelopeBuilder, SigningRequest, Target
from queueing.protocol.algorithms import Algorithm, KeyKind
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.envelope import CURRENT_VERSION
from queueing.protocol.jobs import JobHints, encode_job
from queueing.protocol.public_keys import PublicKey
from queueing.unix_time import unix_ms
from workers.config.snapshots import ConfigurationFiles
from workers.config.tenant_edits import NewVersion, add_version
from workers.dev.tenants import AUDIENCE, CLIENT, KEY

ROUNDS: Final = {"quick": 15, "full": 40}
FEW: Final = 1_000
MANY: Final = 1_000_000
TENANTS_BACKLOG: Final = 100_000  # shared among the tenants
TIMES: Final = 1.5
WORKER_MIB: Final = 150.0
LANE_MIB: Final = 60.0
WATCH_S: Final = {"quick": 4.0, "full": 15.0}
WORKERS: Final = (1, 2, 3, 4)
RELOADED_TENANTS: Final = 2_000
RELOADS: Final = 7
RELOAD_SHARE: Final = 0.5
SERVICE_TOML: Final = (
    '[service]\naudience = "bench"\nstate_dir = "state"\n\n[redis]\nunix_socket = "/nowhere.sock"\n'
)


def claims(session: Session) -> None:
    """Redis CPU of claim and commit per job, in alternating rounds over servers of their own."""
    wide = session.pace.wide
    backlogs = (1_000, 10_000, 100_000, MANY) if wide else (FEW, MANY)
    tenants = (1, 10, 100, 1_000) if wide else (1, 1_000)
    cases = [(1, jobs) for jobs in backlogs] + [(count, TENANTS_BACKLOG) for count in tenants]
    with contextlib.ExitStack() as stack:
        places: dict[tuple[int, int], Backlog] = {}
        for count, jobs in dict.fromkeys(cases):
            name = f"r{count}-{jobs}"
            place = Backlog(session.directory / name, tenants=count, jobs=jobs)
            places[count, jobs] = stack.enter_context(place)
        session.say(f"claims: {sum(jobs for _, jobs in places):,} jobs are in {len(places)} servers")
        steps: dict[tuple[int, int], list[Step]] = {case: [] for case in places}
        for _ in range(ROUNDS[session.pace.name]):
            for case, place in places.items():
                steps[case].append(place.step())
    by_backlog = [(1, jobs) for jobs in backlogs]
    by_tenants = [(count, TENANTS_BACKLOG) for count in tenants]
    session.found.growth += _lines("backlog, jobs", "by backlog, one tenant", by_backlog, steps, axis=1)
    session.found.growth += _lines("tenants", "by tenants, 100,000 jobs in all", by_tenants, steps, axis=0)
    _compare(session, "backlog of 10^6 against 10^3", steps[1, MANY], steps[1, FEW])
    _compare(session, "1,000 tenants against 1", steps[1_000, TENANTS_BACKLOG], steps[1, TENANTS_BACKLOG])


def memory(session: Session) -> None:
    """The worker's and the lanes' memory while a million jobs wait for them."""
    tenant = BenchTenant(name="p256-off", kind=KeyKind.P256, verify_after_sign=False)
    with session.testbed([tenant]) as testbed:
        payload = _one_job(testbed, tenant)
        testbed.redis.do(lambda redis: redis.config_set("maxmemory", "0"))
        fill(testbed.redis, tenant.name, MANY, payload)
        session.say("memory: 1,000,000 jobs are queued")
        deadline = time.monotonic() + WATCH_S[session.pace.name]
        while time.monotonic() < deadline:
            time.sleep(0.2)
            testbed.check()
        (worker,) = testbed.worker_pids
        worker_mib = _peak_mib(worker)
        lanes_mib = max(_peak_mib(pid) for pid in testbed.lane_pids())
    session.threshold(
        at_most("worker memory (peak RSS) with 10^6 queued jobs", worker_mib, WORKER_MIB, unit="MiB")
    )
    session.threshold(at_most("lane memory (peak RSS), the largest", lanes_mib, LANE_MIB, unit="MiB"))


def reload(session: Session) -> None:
    """A reload of thousands of tenants of which one has changed, against reading all of them, in turn."""
    folder = session.directory / "reload"
    config = _tenant_files(folder, RELOADED_TENANTS)
    changed = folder / "tenants" / "t0.toml"
    files = ConfigurationFiles(config)
    files.adopt(files.read())
    whole_s, again_s = [], []
    for epoch in range(2, 2 + RELOADS):
        whole_s.append(_took_s(ConfigurationFiles(config).read))
        changed.write_text(re.sub(r"(?m)^epoch = \d+", f"epoch = {epoch}", changed.read_text()))
        again_s.append(_took_s(files.read))
        files.adopt(files.read())
    share = statistics.median(again / whole for again, whole in zip(again_s, whole_s, strict=True))
    session.say(
        f"reload: {1e3 * statistics.median(again_s):.0f} ms of {1e3 * statistics.median(whole_s):.0f} ms"
    )
    name = f"reload of one tenant of {RELOADED_TENANTS:,}, against reading all"
    session.threshold(at_most(name, share, RELOAD_SHARE))


def _tenant_files(folder: Path, tenants: int) -> Path:
    """Configuration of this many tenants, whose tokens are nowhere; returns the service's file."""
    (folder / "tenants").mkdir(parents=True)
    service = folder / "sigmill.toml"
    text = (
        SERVICE_TOML
        + f'\n[service_key]\ntoken = "service"\npublic_key = "{base64.b64encode(_p256_key().spki).decode()}"\n'
    )
    for name in ("service", *(f"t{each}" for each in range(tenants))):
        text += f'[tokens.{name}]\nmodule = "/nowhere.so"\nselect = {{ label = "{name}" }}\nlogin = "none"\n'
    service.write_text(text)
    for each in range(tenants):
        head = f'tenant = "t{each}"\nepoch = 1\n'
        text = add_version(
            head,
            NewVersion(
                key=KEY,
                version=1,
                state="active",
                public_key=_p256_key(),
                tokens=(f"t{each}",),
                algorithms=(Algorithm.ECDSA_SHA_256,),
                profile="code-signing",
            ),
        )
        (folder / "tenants" / f"t{each}.toml").write_text(text)
    return service


def _p256_key() -> PublicKey:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return PublicKey.from_spki(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _took_s(read: Callable[[], object]) -> float:
    began = time.process_time()
    read()
    return time.process_time() - began


def more_workers(session: Session) -> None:
    """P-256, 256 to an envelope, with one to four workers on this machine."""
    tenant = BenchTenant(name="p256-off", kind=KeyKind.P256, verify_after_sign=False)
    rates, costs = [], []
    for workers in WORKERS:
        with (
            session.testbed([tenant], workers=workers) as testbed,
            SigmillFlow(testbed, tenant.name, in_envelopes(256)) as flow,
            session.ceiling(tenant.kind) as ceiling,
        ):
            pace = session.pace
            (course,) = alternate(
                {"": flow},
                ceiling,
                rounds=pace.rounds,
                seconds=pace.seconds,
                ceiling_seconds=pace.ceiling_seconds,
            ).values()
        row = session.row(f"{workers} workers", tenant.kind, 256, course, verified=False)
        rates.append(GrowthPoint(x=workers, y=100 * (row.share_of_ceiling or 0.0)))
        costs.append(GrowthPoint(x=workers, y=course.cpu.total))
    note = "All workers share the two cores: more of them can bring no more signatures, only cost."
    session.found.growth += [
        Growth(
            plot="Workers on one machine",
            series="% of the ceiling",
            x_label="workers",
            y_label="% or us",
            points=rates,
            note=note,
        ),
        Growth(
            plot="Workers on one machine",
            series="CPU us/signature",
            x_label="workers",
            y_label="% or us",
            points=costs,
        ),
    ]


def _lines(
    x_label: str,
    title: str,
    cases: list[tuple[int, int]],
    steps: dict[tuple[int, int], list[Step]],
    axis: int,
) -> Iterator[Growth]:
    for name in ("claim", "commit"):
        points = [
            GrowthPoint(
                x=case[axis], y=statistics.median(getattr(step, f"{name}_us") for step in steps[case])
            )
            for case in cases
        ]
        yield Growth(
            plot=f"Redis CPU per job, {title}",
            series=name,
            x_label=x_label,
            y_label="us",
            points=points,
            note="64 jobs a claim, each with an envelope of one digest.",
        )


def _compare(session: Session, what: str, more: list[Step], less: list[Step]) -> None:
    """The median of the ratios of each round."""
    ratio = statistics.median(m.claim_us / one.claim_us for m, one in zip(more, less, strict=True))
    costs = " against ".join(number(statistics.median(s.claim_us for s in each)) for each in (more, less))
    session.threshold(at_most(f"claim cost per job, {what}", ratio, TIMES, unit="times", note=f"{costs} us"))


def _one_job(testbed: BenchTestbed, tenant: BenchTenant) -> bytes:
    """A job as a stock producer could name it: one envelope of one digest, good for every id."""
    key = ClientKey.from_file(testbed.clients[tenant.name].verifying.parent / "client.key")
    identity = StaticIdentity(CLIENT, key)
    sealer = EnvelopeBuilder(
        audience=AUDIENCE,
        tenant=tenant.name,
        identity=identity,
        ttl_ms=3_600_000,
        reply_id="",
        now_ms=unix_ms,
    )
    target = Target(KEY, CURRENT_VERSION, tenant.algorithm)
    sealed = sealer.seal_with(identity.held, SigningRequest.of(target, [os.urandom(32)], None)).sealed
    return encode_job(sealed, JobHints(n=1, alg=str(tenant.algorithm)), unix_ms())


def _peak_mib(pid: int) -> float:
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text("utf-8"), re.MULTILINE)
    assert found is not None
    return int(found.group(1)) / 1024
