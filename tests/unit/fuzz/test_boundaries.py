"""No input passes a boundary with an error that it does not declare: valid, changed, and any bytes."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz import agent_boundaries, boundaries, file_boundaries
from tests.fuzz.__main__ import what_was_found
from tests.fuzz.boundaries import BOUNDARIES, Boundary

CASES = pytest.mark.parametrize("boundary", BOUNDARIES.values(), ids=BOUNDARIES.keys())

PIECES = st.binary(max_size=8) | st.sampled_from(
    [b"\x91" * 5000, b"[" * 5000, b"\xff", b"\x00" * 300, b"9" * 5000, b"\xdf\xff\xff\xff\xff", b"\xcf" + b"\xff" * 8, b"\x1b[2J"]
)  # fmt: skip
"""Deep nesting, long numbers, lengths beyond the end, bytes that are no UTF-8."""


@st.composite
def changed(draw: st.DrawFn, seed: bytes) -> bytes:
    """The seed with some pieces cut out, put in or doubled."""
    data = seed
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(start + 40, len(data))))
        data = data[:start] + draw(PIECES | st.just(data[start:end] * 2)) + data[end:]
    return data


@CASES
def test_valid_examples_are_read_without_an_error(
    boundary: Boundary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The examples from which the fuzzer starts: here a declared error fails the test, too."""
    for module in (boundaries, agent_boundaries, file_boundaries):
        monkeypatch.setattr(module, "suppress", lambda *_: nullcontext())
    for seed in boundary.seeds:
        boundary.read(seed)


@CASES
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_changed_examples_are_borne(boundary: Boundary, data: st.DataObject) -> None:
    """The boundary declares the error, or gives a value within its bounds."""
    boundary.read(data.draw(changed(data.draw(st.sampled_from(boundary.seeds)))))


@CASES
@settings(max_examples=40)
@given(raw=st.binary(max_size=400))
def test_any_bytes_are_borne(boundary: Boundary, raw: bytes) -> None:
    """The boundary declares the error, or gives a value within its bounds."""
    boundary.read(raw)


def test_a_finding_is_named_by_its_exception() -> None:
    """The last one in the output; without any its last line."""
    output = "INFO: Seed: 1\n === Uncaught Python exception: ===\nRecursionError: too deep\nTraceback\n==7== ERROR: libFuzzer\nstat::x: 1\n"
    assert what_was_found(output) == "RecursionError: too deep"
    assert what_was_found("a\nout-of-memory (used: 3 Mb)\n") == "out-of-memory (used: 3 Mb)"
