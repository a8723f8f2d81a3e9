"""Valid examples for each boundary, from which a fuzzer starts. The same in each run: keys are made from constants."""

from __future__ import annotations

import base64
import hashlib
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from queueing.broker.dead_letters import DeadLetter, encode_letter
from queueing.client.submitted_job import Job, JobPart
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.envelope import Envelope, seal
from queueing.protocol.jobs import (
    ArqResult,
    JobHints,
    JobOutcome,
    ResultHints,
    WireError,
    encode_job,
    encode_result,
)
from queueing.protocol.key_directory import (
    KeyDirectory,
    KeyEntry,
    KeyVersionEntry,
    encode_directory,
    encode_signed,
)
from queueing.protocol.stop_orders import StopOrder, sign_order
from queueing.transparency.job_proofs import JobProof
from tests.support.fakes.worker_reports import worker_info
from tests.support.farm.job_proofs import Log, items_of
from tests.support.keys import spki_of
from workers.cli.signing.json_lines import SignedLine
from workers.journal.records import (
    OpenedRecord,
    OutcomeRecord,
    Record,
    ReleasedRecord,
    UnknownRecord,
    encode_record,
)
from workers.journal.segments import frame
from workers.lanes.protocol import (
    Alive,
    Chunk,
    EnvelopeSlice,
    LaneFailure,
    Outcomes,
    Ready,
    Reload,
    Reloaded,
    SignCanary,
    SignDirectory,
    SignedCanary,
    SignedDirectory,
    SliceOutcome,
    Stop,
    encode_frame,
)
from workers.state.token_claims import TokenProperties

AUDIENCE: Final = "test"
TENANT: Final = "acme"
NOW_MS: Final = 1_900_000_000_000
JOB_ID: Final = b"{acme}" + b"0" * 32
_ALGORITHM: Final = Algorithm.ECDSA_SHA_256


class _Key:
    """Ed25519 key of a constant."""

    def __init__(self) -> None:
        self._key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([1] * 32))

    def sign_envelope(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(message)

    def spki(self) -> bytes:
        """The public half."""
        return spki_of(self._key)


_KEY: Final = _Key()


def _p256(number: int) -> bytes:
    key = ec.derive_private_key(number, ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _text(der: bytes) -> str:
    return base64.b64encode(der).decode()


def sealed(**changes: Any) -> bytes:
    """A sealed envelope of two digests."""
    fields = {
        "audience": AUDIENCE,
        "tenant": TENANT,
        "client": "ci",
        "key": "release",
        "key_version": 0,
        "algorithm": str(_ALGORITHM),
        "issued_at_ms": NOW_MS,
        "expires_at_ms": NOW_MS + 60_000,
        "idempotency_key": bytes(16),
        "digests": (bytes(32), bytes([255] * 32)),
    }
    return seal(Envelope(**{**fields, **changes}), _KEY)


def job(hints: dict[str, Any] | None = None) -> bytes:
    """A job of our client; with empty ``hints`` one of a stock producer."""
    given = {"n": 2, "alg": str(_ALGORITHM), "h": bytes(16), "re": "0" * 32, "c": "ci"}
    return encode_job(sealed(), JobHints(**(given if hints is None else hints)), NOW_MS)


def _result(outcome: JobOutcome | WireError) -> bytes:
    return encode_result(
        ArqResult(
            k=ResultHints(h=bytes(16)),
            et=1,
            s=isinstance(outcome, JobOutcome),
            r=outcome,
            st=1,
            ft=2,
            q="q",
            id="id",
        )
    )


def results() -> tuple[bytes, ...]:
    """A result with a signature and an error, and a failed one."""
    signed = JobOutcome(
        key="release",
        key_version=1,
        public_key_sha256=bytes(32),
        algorithm=str(_ALGORITHM),
        signatures=(b"signature", None),
        errors={1: WireError("digest.length", "has 31 bytes")},
    )
    return _result(signed), _result(WireError("limit.rate", "too fast", 1.5))


def dead_letter() -> bytes:
    """A dead letter with its job."""
    return encode_letter(
        DeadLetter(
            reason="job.poisoned", message="three lanes", at_ms=NOW_MS, worker="w", attempts=3, crashes=3,
            lane_ends=("signal 11",), key="release", algorithm=str(_ALGORITHM), client="ci", digests=2,
            enqueued_at_ms=NOW_MS, expires_at_ms=NOW_MS, payload=job(),
        )
    )  # fmt: skip


def claim_answer() -> bytes:
    """Answer of the claim script, in msgpack."""
    job = [JOB_ID, b"1900000000000.000", 1, b"payload", 64, 2500, 0]
    return msgspec.msgpack.encode([NOW_MS, b"7", 1, [job, job], 1, 1500, b"rate", -1, 64, 4096, 2, 3, 0])


def worker_report() -> bytes:
    """The report of a worker."""
    return msgspec.msgpack.encode(worker_info("w", since_ms=NOW_MS, circuits_open=("acme",)))


def order() -> bytes:
    """A stop order against a key."""
    return sign_order(
        StopOrder(
            audience=AUDIENCE,
            order_id=bytes(16),
            issued_at_ms=NOW_MS,
            operator="ada",
            scope="key",
            tenant=TENANT,
            name="release",
            reason="leaked",
        ),
        _KEY,
    )


def directory() -> bytes:
    """A key directory with one key in two versions."""
    versions = (
        KeyVersionEntry(version=1, state="verify-only", public_key=_p256(1)),
        KeyVersionEntry(version=2, state="active", public_key=_p256(2), certificates=(b"der",)),
    )
    body = KeyDirectory(
        audience=AUDIENCE,
        tenant=TENANT,
        epoch=7,
        issued_at_ms=NOW_MS,
        expires_at_ms=NOW_MS + 60_000,
        keys={"release": KeyEntry(algorithms=(_ALGORITHM,), default_algorithm=_ALGORITHM, versions=versions)},
    )
    return encode_signed(encode_directory(body), b"signature", bytes(32))


def lane_answers() -> tuple[bytes, ...]:
    """Each message of a lane, without its length."""
    refused = SliceOutcome(WireError("key.unknown", "no such key"))
    mixed = SliceOutcome(None, 1, bytes(32), (b"signature", None), {1: WireError("digest.length", "31")})
    messages = (
        Ready(7, 4, 4, "softhsm", True, TokenProperties("SoftHSM", "v2", "0f", "acme", 3)),
        Outcomes(1, (refused, mixed), 0.5, 0.4, 0.1),
        SignedDirectory(2, b"signed"),
        SignedCanary(3, b"", WireError("token.unavailable", "gone", 1.0)),
        Reloaded(4, 1, -1, "is 4, but 5 was adopted before"),
        Alive(),
        LaneFailure("CKR_DEVICE_ERROR", "replace lane", False),
    )
    return tuple(encode_frame(message)[4:] for message in messages)


def lane_requests() -> bytes:
    """Frames of each message of a worker."""
    messages = (
        Chunk(1, (EnvelopeSlice(sealed(), 0, 2),)),
        SignDirectory(2, TENANT, NOW_MS, NOW_MS),
        SignCanary(3, "release", 1),
        Reload(4, True, (order(),)),
        Stop(),
    )
    return b"".join(encode_frame(message) for message in messages)


def service_file() -> bytes:
    """``sigmill.toml`` with two tokens, an operator and some settings."""
    tokens = "\n".join(
        f'[tokens.{name}]\nmodule = "/usr/lib/softhsm/libsofthsm2.so"\nselect = {{ label = "{name}" }}\n'
        f'login = {{ pin_file = "pins/{name}" }}\nsessions = 4\nenvironment = {{ SOFTHSM2_CONF = "/x" }}\n'
        for name in ("service", "acme")
    )
    return f"""\
[service]
audience = "test"
state_dir = "state"
epoch = 3

[redis]
host = "localhost"
port = 6379

[service_key]
token = "service"
public_key = "{_text(_p256(99))}"

[operators.ada]
public_key = "{_text(_KEY.spki())}"

[worker]
lease_s = 15.0

[metrics]
port = 9464

{tokens}""".encode()


def tenant_file() -> bytes:
    """The file of a tenant with limits, a client and a key."""
    return f"""\
tenant = "acme"
epoch = 4
lifted_orders = ["{"0" * 32}"]

[limits]
rate_per_s = 100
digests_per_day = 1000

[clients.build-1]
public_key = "{_text(_KEY.spki())}"
expires = 2099-01-01T00:00:00Z

[keys.release]
clients = ["build-1"]
algorithms = ["ECDSA_SHA_256"]
windows = [{{ days = ["mon", "fri"], from = 08:00:00, until = 18:00:00 }}]

[[keys.release.versions]]
version = 1
state = "active"
public_key = "{_text(_p256(1))}"
public_key_sha256 = "{hashlib.sha256(_p256(1)).hexdigest()}"
tokens = ["acme"]
""".encode()


def client_file() -> bytes:
    """``client.toml``."""
    return f"""\
audience = "test"
tenant = "acme"
client = "ci"
private_key_file = "client.pem"
service_public_keys = ["{_text(_p256(99))}"]
deadline_s = 60

[redis]
host = "localhost"
""".encode()


def signed_line() -> bytes:
    """A line that ``sigmill sign`` printed."""
    return msgspec.json.encode(
        SignedLine(
            name="dist/a.bin", digest=f"sha256:{'0' * 64}", algorithm=str(_ALGORITHM), key="release", key_version=1,
            public_key_sha256="0" * 64, signature=_text(b"signature"), job_id="id", encoding="raw",
        )
    )  # fmt: skip


def submitted_job() -> bytes:
    """A job that ``sigmill submit`` printed."""
    part = JobPart("id", bytes(16), (bytes(32),))
    return Job(
        tenant=TENANT, key="release", key_version=0, algorithm=_ALGORITHM, count=1, parts=(part,)
    ).to_json()


LOG: Final = Log(size=9)
LOG_ITEMS: Final = items_of([bytes(32), bytes(48)], [b"a", b"b"])


def job_proof() -> JobProof:
    """Proof of a job's outcome, as a sealer sends it."""
    return LOG.proof(LOG_ITEMS, index=5)


_RECORDS: Final[tuple[Record, ...]] = (
    OutcomeRecord(1, TENANT, JOB_ID, b"w:1", "0" * 32, results()[0], dead_letter()),
    ReleasedRecord(2, TENANT, JOB_ID, b"w:1", "committed"),
    UnknownRecord(3, TENANT, JOB_ID, b"w:2"),
)
OPENED: Final = encode_record(OpenedRecord(NOW_MS, 1))


def segment() -> bytes:
    """Frames of some records, behind the first of the segment."""
    return b"".join(frame(encode_record(record)) for record in _RECORDS)


HTTP_REQUESTS: Final = (
    b"GET /metrics?x=1 HTTP/1.1\r\nHost: a:9464\r\nAccept: */*\r\n\r\n",
    b"\r\nHEAD / HTTP/1.0\n\n",
    b"GET /metrics?name[]=up&name%5B%5D=\\ HTTP/1.1\nAccept: application/openmetrics-text;version=9\nAccept-Encoding: gzip;q=1\n\n",
)
MANIFESTS: Final = (
    b'{"name": "a", "digest": "sha256:' + b"0" * 64 + b'"}\n{"digest": "sha-384:00", "name_bytes": "/w=="}\n',
    b"0" * 64 + b"  a\n\\" + b"f" * 128 + b" *b\\nc\r\n\n",
)
METRICS_PAGE: Final = b"""# HELP sigmill_jobs_total Jobs.
# TYPE sigmill_jobs_total counter
sigmill_jobs_total{tenant="acme",outcome="a\\"b"} 3.0 1395066363000
# TYPE sigmill_wait_seconds histogram
sigmill_wait_seconds_bucket{le="+Inf"} 1.0e3
"""
PROMETHEUS: Final = b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"tenant":"a"},"value":[1.5,"NaN"]}]}}'
REDIS_TEXTS: Final = (b"9007199254740992", b"{acme}" + b"0" * 32, b"-1", b"\xff\x1b[2J")
STATE_FILES: Final = (b'{"audience":"test","tenant":"acme","epoch":7}', b"1900000000000")
TERMINAL_TEXTS: Final = ("a\tb\x1b[31m\u202e\u2028\U0001f511".encode(), b"\xff\xfe plain")
