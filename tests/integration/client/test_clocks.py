"""A build host whose clock is wrong, with a real worker: it signs where that is safe, else the error has the
difference.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

from queueing import Signature, SigningClient
from queueing.errors import EnvelopeExpired
from queueing.unix_time import unix_ms
from tests.support.clocks.stepped_clock import SteppedClock
from tests.support.rig.rig import MakeRig, Rig
from tests.support.sigmill_cli import run_sigmill

HOUR_S = 3600
YEAR_S = 365 * 86_400


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    rig = make_rig()
    rig.start_worker()
    return rig


def client_ahead(rig: Rig, ahead_s: int) -> SigningClient:
    def now_ms() -> int:
        return unix_ms() + ahead_s * 1000

    return SigningClient(rig.client_config("acme"), rig.keys["acme"], now_ms=now_ms)


@pytest.mark.parametrize("ahead_s", [90, HOUR_S, -90, -HOUR_S])
async def test_a_clock_that_is_wrong_by_an_hour_costs_no_signature(
    rig: Rig, ahead_s: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Envelopes are dated back by what the clock is ahead of Redis'; the difference is reported."""
    caplog.set_level(logging.WARNING, "sigmill.client")
    async with client_ahead(rig, ahead_s) as client:
        assert isinstance(await client.sign("release", os.urandom(32), timeout_s=60), Signature)
    side = "ahead of" if ahead_s > 0 else "behind"
    assert any(f"{side} Redis'" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("ahead_s", [3 * YEAR_S, -5 * HOUR_S, -3 * YEAR_S])
@pytest.mark.parametrize("named", [False, True])
async def test_a_clock_that_is_wrong_by_more_than_an_envelope_lives_ends_at_once(
    rig: Rig, ahead_s: int, named: bool
) -> None:
    """Final, with the difference: by a directory that has expired, or by the lane's refusal where none was needed."""
    algorithm = "ECDSA_SHA_256" if named else None
    began_s = time.monotonic()
    async with client_ahead(rig, ahead_s) as client:
        with pytest.raises(
            EnvelopeExpired, match=r"this host's clock is [0-9.]+ [dh] (ahead of|behind) Redis'"
        ):
            await client.sign("release", os.urandom(32), algorithm, timeout_s=60)
    assert time.monotonic() - began_s < 30


async def test_the_same_request_is_signed_once_the_clock_is_right(rig: Rig) -> None:
    """The refusal is not kept as the result of the request."""
    digest = os.urandom(32)
    async with client_ahead(rig, 3 * YEAR_S) as client:
        outcomes = client.sign_many("release", [digest], "ECDSA_SHA_256", request_id="build-1", timeout_s=60)
        assert [type(outcome) async for outcome in outcomes] == [EnvelopeExpired]
    async with rig.client() as client:
        outcomes = client.sign_many("release", [digest], "ECDSA_SHA_256", request_id="build-1", timeout_s=60)
        assert [type(outcome) async for outcome in outcomes] == [Signature]


@pytest.mark.parametrize("ahead_s", [90, 3 * YEAR_S])
async def test_the_command_line_says_whose_clock_is_wrong(rig: Rig, tmp_path: Path, ahead_s: int) -> None:
    """A note where it signs all the same, an error where it cannot."""
    clock = SteppedClock(tmp_path / "clock")
    clock.set_ahead_s(ahead_s)
    file = tmp_path / "a.bin"
    file.write_bytes(b"content")
    config = rig.directory / "clients" / "acme" / "client.toml"
    environ = {**clock.environment(), "SIGMILL_CLIENT_CONFIG": str(config)}
    ran = await run_sigmill("sign", "--key", "release", str(file), environ=environ)
    assert ran.code == (0 if ahead_s == 90 else 1), ran.err
    words = "90 s" if ahead_s == 90 else "1095.0 d"
    assert f"this host's clock is {words} ahead of Redis'" in ran.err
