"""Boundaries at which bytes from outside are read, each as a function of bytes, with valid examples as seeds.

A boundary reads its input as the product does, swallows the errors that it declares, and asserts what a caller relies on.
Anything else that it raises is a finding. Used by ``make fuzz`` (atheris) and by the unit tests (hypothesis).
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import msgspec
from prometheus_client import CollectorRegistry

from queueing.broker import dead_letters
from queueing.broker.claim_values import decode_claim
from queueing.client.config import ClientConfig
from queueing.client.epoch_store import EpochStore
from queueing.client.submitted_job import Job
from queueing.config.secrets import Secret
from queueing.config.toml import read_toml
from queueing.coordination import worker_registry
from queueing.errors import (
    ConfigError,
    EnvelopeMalformed,
    FunctionUnknown,
    ProofInvalid,
    QueueUnavailable,
    ResultInvalid,
    SigningError,
)
from queueing.protocol.algorithms import Algorithm, KeyKind
from queueing.protocol.envelope import MAX_DIGESTS, encode_body, read_unverified
from queueing.protocol.jobs import MAX_COUNTED, JobOutcome, decode_job, decode_result, tenant_of_job_id
from queueing.protocol.key_directory import ServicePublicKey, open_directory
from queueing.protocol.public_keys import PublicKey
from queueing.protocol.stop_orders import OrderInvalid, read_order
from queueing.redis.errors import AnswerMalformed
from queueing.redis.values import MOST_COUNT, count_of
from queueing.transparency.job_proofs import read_job_proof
from queueing.transparency.receipts import verify_receipt
from queueing.transparency.signed_heads import read_signed_head
from tests.fuzz import seeds
from tests.fuzz.agent_boundaries import AGENT_BOUNDARIES
from tests.fuzz.file_boundaries import FILE_BOUNDARIES
from tests.fuzz.issuer_boundaries import ISSUER_BOUNDARIES
from tests.fuzz.relay_boundaries import RELAY_BOUNDARIES
from tests.fuzz.scratch import SCRATCH
from workers.audit.job_history import histories_of
from workers.cli.shell.output import printable
from workers.cli.signing import verify
from workers.cli.signing.manifest import batches_of, item_of_line
from workers.config.service_file import read_service
from workers.config.tenant_file import tenant_of
from workers.config.values import ErrorList
from workers.journal.damage import Damage
from workers.journal.recovery import recover
from workers.journal.segments import frame, read_segment, segment_path
from workers.lanes.protocol import Outcomes, read_to_lane
from workers.lanes.supervisor.answer_reader import AnswerInvalid, one_line, read_answer
from workers.monitoring import prometheus
from workers.monitoring.http import PageUnavailable
from workers.monitoring.scrape import read_page
from workers.state.adopted_config import refuse_older_tenant
from workers.state.latest_time import MOST_AHEAD_MS, LatestTime
from workers.telemetry import job_log
from workers.telemetry.http_pages import CpuAllowance, Pages, ThreadClock
from workers.telemetry.http_request import BadRequest, read_request


@dataclass(frozen=True, slots=True)
class Boundary:
    """One boundary; ``seeds`` are read without an error."""

    read: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


NOW_MS: Final = seeds.NOW_MS


def _file(name: str, data: bytes, mode: int = 0o600) -> Path:
    """A file of this process with these bytes."""
    file = SCRATCH / str(os.getpid()) / name
    if not file.parent.is_dir():
        file.parent.mkdir(parents=True)
    file.write_bytes(data)
    file.chmod(mode)
    return file


def _job(data: bytes) -> None:
    with suppress(FunctionUnknown, EnvelopeMalformed):
        job = decode_job(data)
        assert 0 <= job.enqueued_at_ms <= MAX_COUNTED
        assert 0 <= job.hints.n <= MAX_COUNTED
        read_unverified(job.sealed)


def _envelope(data: bytes) -> None:
    with suppress(EnvelopeMalformed):
        read = read_unverified(data)
        assert 1 <= len(read.envelope.digests) <= MAX_DIGESTS
        assert encode_body(read.envelope) == read.body


def _result(data: bytes) -> None:
    with suppress(ResultInvalid):
        outcome = decode_result(data).outcome
        errors = [outcome] if isinstance(outcome, SigningError) else _errors_of(outcome)
        assert all(printable(str(error)).isprintable() for error in errors)


def _errors_of(outcome: JobOutcome) -> list[SigningError]:
    return [note.error() for note in outcome.errors.values()]


def _redis_text(data: bytes) -> None:
    """Counters, ids and names, as whoever can write there names them."""
    assert 0 <= count_of(data) <= MOST_COUNT
    text = job_log.name_of(data)
    assert printable(text).isprintable()
    tenant = tenant_of_job_id(text)
    assert tenant is None or "{" not in tenant


def _dead_letter(data: bytes) -> None:
    letter = dead_letters._decoded(data)
    assert letter is None or 0 <= letter.at_ms <= MOST_COUNT


def _signed_head(data: bytes) -> None:
    """Value of Redis, of which only the service key's word counts."""
    with suppress(ProofInvalid):
        log = seeds.LOG
        head = read_signed_head(data).verify(log.service.verifier, audience=log.audience, origin=log.origin)
        assert head.size == log.size


def _claim_answer(data: bytes) -> None:
    """The answer of the claim script: read here from msgpack, which has the types of Redis' protocol, and more."""
    try:
        answer = msgspec.msgpack.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        return
    with suppress(AnswerMalformed):
        assert decode_claim("acme", "h1.1.aa", answer).limited in {"", "rate", "budget"}


def _worker_report(data: bytes) -> None:
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):  # as registered_workers() does
        info = worker_registry._decoder.decode(data)
        assert msgspec.json.encode(info)
        assert 0 <= info.since_ms <= MOST_COUNT


def _order(data: bytes) -> None:
    with suppress(OrderInvalid):
        order = read_order(data, seeds.AUDIENCE)
        assert len(order.order_id) == 16


class _Believed:
    """Pinned service key that believes every signature: what is behind the signature is read, too."""

    kind = KeyKind.P256
    sha256 = bytes(32)

    def verify(self, algorithm: Algorithm, digest: bytes, signature: bytes) -> None:
        """Believe it."""


def _directory(data: bytes) -> None:
    with suppress(ResultInvalid, QueueUnavailable):
        directory = open_directory(
            data,
            audience=seeds.AUDIENCE,
            tenant=seeds.TENANT,
            pinned=[cast("ServicePublicKey", _Believed())],
            newest_epoch=1,
            now_ms=NOW_MS,
        )
        assert directory.epoch >= 1
        for entry in directory.keys.values():
            for version in entry.versions:
                with suppress(SigningError):
                    PublicKey.from_spki(version.public_key)


def _lane_answer(data: bytes) -> None:
    with suppress(AnswerInvalid):
        message = read_answer(data)
        if isinstance(message, Outcomes):
            assert all(
                math.isfinite(s) and s >= 0 for s in (message.seconds, message.sign_s, message.verify_s)
            )
            for item in message.items:
                notes = [item.error] if item.error is not None else [*item.errors.values()]
                assert all(one_line(note.message) == note.message for note in notes)


def _lane_request(data: bytes) -> None:
    with suppress(ValueError, msgspec.MsgspecError, RecursionError):  # the lane ends over it
        for message in read_to_lane(io.BytesIO(data)):
            assert message is not None


def _service_file(data: bytes) -> None:
    with suppress(ConfigError):
        file, errors = _file("sigmill.toml", data), ErrorList()
        service = read_service(file, read_toml(file), errors)
        assert (service is None) == bool(errors.all)
        assert all(error.remedy for error in errors.all)


def _tenant_file(data: bytes) -> None:
    with suppress(ConfigError):
        file = _file("acme.toml", data)
        tables = read_toml(file)
        refuse_older_tenant(file, data.decode("utf-8-sig"), seeds.tenant_file().decode())
        tenant = tenant_of(file, tables, {"acme"})
        tenant.directory(audience=seeds.AUDIENCE, issued_at_ms=NOW_MS, expires_at_ms=NOW_MS)


def _client_file(data: bytes) -> None:
    with suppress(ConfigError):
        ClientConfig.from_file(_file("client.toml", data))


def _secret_file(data: bytes) -> None:
    with suppress(ConfigError):
        text = Secret.from_file(_file("pin", data)).reveal()
        assert text
        assert not set(text) & set("\n\r\0")


def _state_files(data: bytes) -> None:
    """Small files of a client and of a lane, which a crash or another program may have left in any state."""
    file = _file("client.toml.state", data)
    store = EpochStore(file, audience=seeds.AUDIENCE, tenant=seeds.TENANT)
    assert isinstance(store.newest, int)
    latest = _file("latest-time", data)
    assert NOW_MS <= LatestTime(latest.parent).see(NOW_MS) <= NOW_MS + MOST_AHEAD_MS


def _manifest(data: bytes) -> None:
    for batch in batches_of(io.BytesIO(data)):
        for number, line in batch:
            item = item_of_line(f"manifest:{number}", line)
            assert (item.digest is None) <= (item.error is not None)
            assert item.shown_name.encode().decode() == item.shown_name
            assert printable(item.name).isprintable()


def _signed_line(data: bytes) -> None:
    with suppress(SigningError):
        line = verify._line(data)
        verify._digest(line, line.name, read_files=False)
        verify._signature(line)


def _job_proof(data: bytes) -> None:
    """A client asks a changed proof for its own items only."""
    with suppress(ProofInvalid):
        read_job_proof(data).verify(seeds.LOG_ITEMS, seeds.LOG.trusted, tenant=seeds.LOG.tenant)


def _receipt(data: bytes) -> None:
    with suppress(ProofInvalid):
        verify_receipt(data, seeds.LOG.trusted, digest=seeds.LOG_ITEMS[0].digest)


def _submitted_job(data: bytes) -> None:
    with suppress(SigningError):
        job = Job.from_json(data)
        assert len(job.job_ids) == len(list(job.requests()))


def _terminal(data: bytes) -> None:
    for text in (data.decode("utf-8", "surrogateescape"), data.decode("latin-1")):
        shown = printable(text)
        assert shown.isprintable()
        assert printable(shown) == shown
        assert shown.encode().decode() == shown


def _segment(data: bytes) -> None:
    """A segment whose first record is whole: that one is found, and what is behind it costs itself at most."""
    head = frame(seeds.OPENED)
    file = _file("wal/000000000001.wal", head + data)
    assert file == segment_path(file.parent, 1)
    damage: list[Damage] = []
    payloads = list(read_segment(file, damage))
    assert payloads[0] == seeds.OPENED
    assert sum(place.size_bytes for place in damage) <= len(data)
    assert all(len(head) <= place.offset < len(head) + len(data) for place in damage)
    recover(file.parent, now_s=NOW_MS / 1000)
    histories_of(file.parent, [seeds.JOB_ID], since_s=0.0)


class _Well:
    alive = True
    ready = True


class _Unused(ThreadClock):
    """Clock of a thread that uses no CPU time: each page is made, and none is refused or sent again."""

    def used_s(self) -> float:
        return 0.0


PAGES: Final = Pages(CollectorRegistry(), _Well(), cpu=CpuAllowance(_Unused()))


def _http_request(data: bytes) -> None:
    with suppress(BadRequest):
        request = read_request(data)
        assert request is None or PAGES.answer(request).startswith(b"HTTP/1.1 ")


def _metrics_page(data: bytes) -> None:
    with suppress(PageUnavailable, UnicodeDecodeError):
        page = read_page("worker", data.decode(), 1.0)
        assert page.samples


def _prometheus(data: bytes) -> None:
    with suppress(PageUnavailable):
        assert not any(math.isnan(value) for value in prometheus.read_answer(data, ["tenant"]).values())


BOUNDARIES: Final[Mapping[str, Boundary]] = {
    **{
        name: Boundary(read, examples)
        for name, (read, examples) in (
            AGENT_BOUNDARIES | FILE_BOUNDARIES | ISSUER_BOUNDARIES | RELAY_BOUNDARIES
        ).items()
    },
    "claim-answer": Boundary(_claim_answer, (seeds.claim_answer(),)),
    "client-file": Boundary(_client_file, (seeds.client_file(),)),
    "dead-letter": Boundary(_dead_letter, (seeds.dead_letter(),)),
    "directory": Boundary(_directory, (seeds.directory(),)),
    "envelope": Boundary(_envelope, (seeds.sealed(), seeds.sealed(digests=(bytes(48),) * 40))),
    "http-request": Boundary(_http_request, seeds.HTTP_REQUESTS),
    "job": Boundary(_job, (seeds.job(), seeds.job(hints={}))),
    "job-proof": Boundary(_job_proof, (seeds.job_proof().encode(),)),
    "lane-answer": Boundary(_lane_answer, seeds.lane_answers()),
    "lane-request": Boundary(_lane_request, (seeds.lane_requests(),)),
    "manifest": Boundary(_manifest, seeds.MANIFESTS),
    "metrics-page": Boundary(_metrics_page, (seeds.METRICS_PAGE,)),
    "order": Boundary(_order, (seeds.order(),)),
    "prometheus": Boundary(_prometheus, (seeds.PROMETHEUS,)),
    "receipt": Boundary(_receipt, (next(seeds.job_proof().receipts(seeds.LOG_ITEMS)),)),
    "redis-text": Boundary(_redis_text, seeds.REDIS_TEXTS),
    "result": Boundary(_result, seeds.results()),
    "secret-file": Boundary(_secret_file, (b"1234\n", "P\u00e4 \U0001f511\r\n".encode())),
    "segment": Boundary(_segment, (seeds.segment(),)),
    "service-file": Boundary(_service_file, (seeds.service_file(),)),
    "signed-head": Boundary(_signed_head, (seeds.LOG.signed_head(),)),
    "signed-line": Boundary(_signed_line, (seeds.signed_line(),)),
    "state-files": Boundary(_state_files, seeds.STATE_FILES),
    "submitted-job": Boundary(_submitted_job, (seeds.submitted_job(),)),
    "tenant-file": Boundary(_tenant_file, (seeds.tenant_file(),)),
    "terminal": Boundary(_terminal, seeds.TERMINAL_TEXTS),
    "worker-report": Boundary(_worker_report, (seeds.worker_report(),)),
}
