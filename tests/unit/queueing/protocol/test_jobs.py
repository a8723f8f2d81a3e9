"""Jobs and results in Redis: read strictly, never unpickled, ids and hashes stable."""

from __future__ import annotations

import contextlib
import math
import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.errors import EnvelopeMalformed, FunctionUnknown, KeyUnknown, LimitRate, ResultInvalid
from queueing.protocol.jobs import (
    ArqResult,
    JobHints,
    JobOutcome,
    ResultHints,
    WireError,
    content_hash,
    decode_job,
    decode_result,
    deserialize,
    encode_job,
    encode_result,
    job_id_of,
    serialize,
    tenant_of_job_id,
)
from tests.unit.queueing.protocol.test_envelope import Exploding, envelope

HINTS = JobHints(n=2, alg="ECDSA_SHA_256", h=b"h" * 16, re="0" * 32)


def result(**changes: object) -> bytes:
    fields: dict[str, object] = {
        "k": ResultHints(h=b"h" * 16),
        "et": 1,
        "s": False,
        "r": WireError("key.unknown", "no"),
        "st": 1,
        "ft": 2,
        "q": "q",
        "id": "i",
    }
    return encode_result(ArqResult(**{**fields, **changes}))  # type: ignore[arg-type]


def test_a_job_is_read_as_it_was_written() -> None:
    """Sealed bytes, hints and time come back."""
    job = decode_job(encode_job(b"sealed", HINTS, 7))
    assert (job.sealed, job.hints, job.enqueued_at_ms) == (b"sealed", HINTS, 7)


def test_a_job_of_a_stock_producer_has_no_hints() -> None:
    """``enqueue_job('sign', sealed)`` writes a job with our serialiser."""
    raw = serialize({"t": None, "f": "sign", "a": (b"sealed",), "k": {}, "et": 1})
    assert decode_job(raw).hints == JobHints()


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc1",
        pickle.dumps({"f": "sign", "a": (Exploding(),)}),
        serialize({"t": None, "f": "sign", "a": (), "k": {}, "et": 1}),
        serialize({"t": None, "f": "sign", "a": ("text",), "k": {}, "et": 1}),
        serialize({"t": None, "f": "sign", "a": (b"s",), "k": {"re": "../x"}, "et": 1}),
        serialize({"t": None, "f": "sign", "a": (b"s",), "k": {"n": "many"}, "et": 1}),
        b"\x91" * 100_000,
    ],
)
def test_a_value_that_is_no_signing_job_is_malformed(raw: bytes) -> None:
    """Typed, whatever it is; a pickle is never loaded."""
    with pytest.raises(EnvelopeMalformed):
        decode_job(raw)


@pytest.mark.parametrize("arguments", [(), (b"sealed",), ({"deep": [1]},)])
def test_an_unknown_function_is_said_so(arguments: tuple[object, ...]) -> None:
    """Other functions are refused by name, whatever their arguments."""
    with pytest.raises(FunctionUnknown):
        decode_job(serialize({"t": 1, "f": "other", "a": arguments, "k": {}, "et": 1}))


def in_order(*fields: tuple[str, object]) -> bytes:
    """A map with these fields, also where one is there twice."""
    pack = msgspec.msgpack.encode
    return bytes([0x80 + len(fields)]) + b"".join(pack(name) + pack(value) for name, value in fields)


JOB_FIELDS = (("t", None), ("f", "sign"), ("a", [b"s"]), ("k", {"n": 1}), ("et", 1))


@pytest.mark.parametrize(
    "raw",
    [
        in_order(*JOB_FIELDS, ("k", {"n": 64})),
        in_order(*JOB_FIELDS, ("a", [b"other"])),
        in_order(*JOB_FIELDS[:3], ("k", msgspec.Raw(in_order(("n", 1), ("n", 64)))), ("et", 1)),
        in_order(*JOB_FIELDS[:3], ("k", {"n": 2**53 + 1}), ("et", 1)),
        in_order(*JOB_FIELDS[:3], ("k", {"n": -1}), ("et", 1)),
    ],
    ids=["two kwargs", "two arguments", "two counts", "a huge count", "a negative count"],
)
def test_a_job_that_reads_in_two_ways_is_malformed(raw: bytes) -> None:
    """The claim script charges by the first of two fields, msgspec has the last."""
    with pytest.raises(EnvelopeMalformed):
        decode_job(raw)


@given(st.binary(max_size=200) | st.lists(st.binary(max_size=12)).map(b"".join))
def test_any_bytes_are_a_job_or_a_typed_error(raw: bytes) -> None:
    """Nothing else is raised; also behind the beginning of a good job."""
    for each in (raw, in_order(*JOB_FIELDS[:3])[:-1] + raw, b"\x86" + in_order(*JOB_FIELDS)[1:] + raw):
        with contextlib.suppress(EnvelopeMalformed, FunctionUnknown):
            decode_job(each)


def test_results_come_back_typed() -> None:
    """An outcome, or the error of its code, with the content hash."""
    outcome = JobOutcome(
        key="k", key_version=1, public_key_sha256=b"f" * 32, algorithm="A", signatures=(b"s", None)
    )
    read = decode_result(result(s=True, r=outcome))
    assert (read.outcome, read.content) == (outcome, b"h" * 16)
    assert isinstance(decode_result(result()).outcome, KeyUnknown)
    unknown = decode_result(result(r=WireError("no.such.code")))
    assert isinstance(unknown.outcome, ResultInvalid)


@pytest.mark.parametrize(
    "sent_s, read_s", [(2.5, 2.5), (0.0, 0.0), (-1.0, None), (math.nan, None), (math.inf, None), (None, None)]
)
def test_a_time_that_is_none_is_no_advice(sent_s: float | None, read_s: float | None) -> None:
    """The owner of Redis or of a relay writes what it likes: a timer of NaN would keep all others from firing."""
    read = decode_result(result(r=WireError("limit.rate", retry_after_s=sent_s))).outcome
    assert isinstance(read, LimitRate)
    assert read.retry_after_s == read_s


@pytest.mark.parametrize("raw", [b"", b"\x80", pickle.dumps(Exploding()), result()[:-30], b"\x81\xa1s\xc3"])
def test_a_value_that_is_no_result_is_invalid(raw: bytes) -> None:
    """Typed; a pickle is never loaded."""
    with pytest.raises(ResultInvalid):
        decode_result(raw)


def test_arqs_deserialiser_loads_no_pickle_and_makes_errors() -> None:
    """Through arq's own hook: a failed result is its SigningError, a pickle an error of msgpack."""
    assert isinstance(deserialize(result())["r"], KeyUnknown)
    with pytest.raises(msgspec.DecodeError):
        deserialize(pickle.dumps(Exploding()))


def test_arqs_serialiser_carries_classes_not_texts_of_foreign_errors() -> None:
    """An exception that is not ours travels as its class name; any other object is refused."""
    raw = serialize({"s": False, "r": ValueError("a secret")})
    assert b"ValueError" in raw
    assert b"secret" not in raw
    with pytest.raises(TypeError):
        serialize({"r": object()})


def test_a_job_id_is_a_function_of_tenant_and_idempotency_key() -> None:
    """The same for ever (a repeated run relies on it), different for another tenant."""
    assert job_id_of("acme", b"k" * 16) == "{acme}" + job_id_of("acme", b"k" * 16)[6:]
    assert job_id_of("acme", b"k" * 16)[6:] != job_id_of("acne", b"k" * 16)[6:]
    assert tenant_of_job_id(job_id_of("acme", b"k" * 16)) == "acme"
    assert tenant_of_job_id("{acme}short") is None


def test_the_content_hash_is_that_of_the_content() -> None:
    """Dates and idempotency key do not count: a renewed envelope is the same; anything else does."""
    same = envelope(issued_at_ms=1, expires_at_ms=2, idempotency_key=b"x" * 16)
    assert content_hash(same) == content_hash(envelope())
    for change in ({"key": "other"}, {"key_version": 1}, {"algorithm": "B"}, {"digests": (b"d" * 32,)}):
        assert content_hash(envelope(**change)) != content_hash(envelope())
