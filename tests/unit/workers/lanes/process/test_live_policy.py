"""The rules that a lane reads itself, and the envelopes that it authorises by them."""

from __future__ import annotations

import base64
from itertools import count
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from queueing.errors import (
    ClockSetBack,
    EnvelopeExpired,
    EnvelopeMalformed,
    EnvelopeSignature,
    JobExpired,
    LimitRate,
    PolicyDenied,
    TokenUnavailable,
)
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.envelope import Envelope, seal
from queueing.protocol.stop_orders import StopOrder, sign_order
from queueing.unix_time import HostClock
from tests.support.fakes.config_files import client_line, service_text, tenant_text
from workers.lanes.authorisation import CLOCK_SKEW_MS
from workers.lanes.process.live_policy import LivePolicy
from workers.lanes.protocol import EnvelopeSlice, SignCanary, SignDirectory
from workers.state.latest_time import LatestTime

NOW_MS = 1_800_000_000_000
HOUR_MS = 3_600_000


class Seed:
    """The Ed25519 client key of a seed, as ``client_line`` has its public half."""

    def __init__(self, seed: int) -> None:
        self._key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32))

    def sign_envelope(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._key.sign(message)


def sealed_by(seed: int) -> bytes:
    """Two digests for acme's key, in the name of its client."""
    envelope = Envelope(
        audience="test",
        tenant="acme",
        client="build-1",
        key="release",
        key_version=0,
        algorithm="ECDSA_SHA_256",
        issued_at_ms=NOW_MS,
        expires_at_ms=NOW_MS + 60_000,
        idempotency_key=bytes(16),
        digests=(bytes(32), bytes(32)),
    )
    return seal(envelope, Seed(seed))


def test_a_lane_signs_a_keys_canary_once_at_a_time(tmp_path: Path) -> None:
    """A second canary of the key is refused at that moment: a worker's canaries must not use up the HSM."""
    (tmp_path / "tenants").mkdir()
    (tmp_path / "tenants" / "acme.toml").write_text(tenant_text())
    (tmp_path / "sigmill.toml").write_text(service_text())
    policy = LivePolicy(tmp_path / "sigmill.toml", token="acme", tenant="acme")
    request = SignCanary(1, "release", 1)
    assert policy.canary(request, NOW_MS).key_version.version == 1
    with pytest.raises(LimitRate, match="a moment ago"):
        policy.canary(request, NOW_MS)


def test_an_envelope_verified_under_a_client_key_is_verified_again_when_the_key_is_replaced(
    tmp_path: Path,
) -> None:
    """Only the client's key changes: the second part of an envelope of the old key is refused."""
    (tmp_path / "tenants").mkdir()
    tenant = tmp_path / "tenants" / "acme.toml"
    service = tmp_path / "sigmill.toml"
    tenant.write_text(tenant_text())
    service.write_text(service_text())
    authority = LivePolicy(service, token="acme", tenant="acme")
    sealed = sealed_by(1)
    assert authority.authorise(EnvelopeSlice(sealed, 0, 1), NOW_MS).key_version.version == 1
    tenant.write_text(tenant_text().replace("epoch = 4", "epoch = 5").replace(client_line(), client_line(2)))
    assert authority.reload() == ""
    with pytest.raises(EnvelopeSignature):
        authority.authorise(EnvelopeSlice(sealed, 1, 1), NOW_MS)
    assert authority.authorise(EnvelopeSlice(sealed_by(2), 1, 1), NOW_MS).key_version.version == 1


def test_an_envelope_for_a_key_that_is_in_another_token_now_is_to_be_tried_again(tmp_path: Path) -> None:
    """The key was rotated to another token while the job waited here: the error is retryable, and the worker routes it again."""
    (tmp_path / "tenants").mkdir()
    (tmp_path / "tenants" / "acme.toml").write_text(
        tenant_text().replace('tokens = ["acme"]', 'tokens = ["other"]')
    )
    service = tmp_path / "sigmill.toml"
    text = service_text()
    table = text[text.index("[tokens.acme]") :].split("\n\n")[0]
    other = table.replace("[tokens.acme]", "[tokens.other]").replace('label = "acme"', 'label = "other"')
    service.write_text(f"{text}\n{other}\n")
    authority = LivePolicy(service, token="acme", tenant="acme")
    with pytest.raises(TokenUnavailable):
        authority.authorise(EnvelopeSlice(sealed_by(1), 0, 1), NOW_MS)


def written(folder: Path) -> Path:
    """The service's file, with the tenant acme."""
    (folder / "tenants").mkdir()
    (folder / "tenants" / "acme.toml").write_text(tenant_text())
    service = folder / "sigmill.toml"
    service.write_text(service_text())
    return service


def test_every_change_of_the_rules_is_a_new_policy_version(tmp_path: Path) -> None:
    """A run that was authorised before a reload is not begun after it: session threads compare its version."""
    service = written(tmp_path)
    policy = LivePolicy(service, token="acme", tenant="acme")
    before = policy.policy_version
    tenant = tmp_path / "tenants" / "acme.toml"
    tenant.write_text(
        tenant_text().replace("epoch = 4", "epoch = 5").replace('clients = ["*"]', "clients = []")
    )
    assert policy.reload() == ""
    assert policy.policy_version > before


class PassingTime(HostClock):
    """Ten hours pass between two looks."""

    def __init__(self) -> None:
        self._readings = count(step=10 * HOUR_MS)

    def since_boot_ms(self) -> int:
        return next(self._readings)


class FiveMsUp(HostClock):
    """A host whose time since boot stands still."""

    def since_boot_ms(self) -> int:
        return 5


@pytest.fixture
def policy(tmp_path: Path) -> LivePolicy:
    (tmp_path / "tenants").mkdir()
    (tmp_path / "tenants" / "acme.toml").write_text(tenant_text())
    service = tmp_path / "sigmill.toml"
    service.write_text(service_text())
    made = LivePolicy(service, token="acme", tenant="acme")
    made.latest_time = LatestTime(host=PassingTime())
    return made


def test_an_envelope_that_had_expired_is_not_signed_after_the_clock_is_set_back(policy: LivePolicy) -> None:
    """The error is retryable, since the clock may have been ahead, and says by how much it was set back."""
    slice_ = EnvelopeSlice(sealed_by(1), 0, 2)
    policy.authorise(slice_, NOW_MS)
    later_ms = NOW_MS + 60_000 + CLOCK_SKEW_MS
    with pytest.raises(JobExpired):
        policy.authorise(slice_, later_ms)
    with pytest.raises(ClockSetBack, match="set back by 119 s") as caught:
        policy.authorise(slice_, NOW_MS + 1000)
    assert caught.value.retryable


def test_an_expired_envelope_itself_shows_the_time(policy: LivePolicy) -> None:
    """The time is remembered although the envelope by which it was noticed was refused."""
    slice_ = EnvelopeSlice(sealed_by(1), 0, 2)
    with pytest.raises(JobExpired):
        policy.authorise(slice_, NOW_MS + 40 * 60_000)
    with pytest.raises(ClockSetBack, match="set back by 2400 s"):
        policy.authorise(slice_, NOW_MS)


def test_an_envelope_that_has_expired_by_the_clock_is_refused_whatever_it_showed_before(
    policy: LivePolicy,
) -> None:
    """The envelope has expired by the clock and by the latest time."""
    policy.latest_time.see(NOW_MS + 40 * 60_000)
    with pytest.raises(JobExpired):
        policy.authorise(EnvelopeSlice(sealed_by(1), 0, 2), NOW_MS + 60_000 + CLOCK_SKEW_MS)


def test_a_clock_that_was_ahead_and_is_corrected_holds_up_no_envelope(policy: LivePolicy) -> None:
    """No time has passed since the host's boot meanwhile."""
    policy.latest_time = LatestTime(host=FiveMsUp())
    slice_ = EnvelopeSlice(sealed_by(1), 0, 2)
    policy.authorise(slice_, NOW_MS)
    with pytest.raises(ClockSetBack):
        policy.authorise(slice_, NOW_MS + 3 * HOUR_MS)
    assert policy.authorise(slice_, NOW_MS + 1000).key_version.version == 1


YEARS_MS = 3 * 365 * 24 * HOUR_MS


@pytest.mark.parametrize("step_ms", [3 * HOUR_MS, YEARS_MS, -YEARS_MS])
def test_an_envelope_that_only_a_set_clock_refuses_is_requeued(policy: LivePolicy, step_ms: int) -> None:
    """It is good by the course that the clock had before, and the time since boot tells that course."""
    policy.latest_time = LatestTime(host=FiveMsUp())
    slice_ = EnvelopeSlice(sealed_by(1), 0, 2)
    policy.latest_time.see(NOW_MS)
    how = "ahead" if step_ms > 0 else "back"
    for _ in range(2):
        with pytest.raises(ClockSetBack, match=f"set {how} by {abs(step_ms) // 1000} s"):
            policy.authorise(slice_, NOW_MS + step_ms)
    assert policy.authorise(slice_, NOW_MS).key_version.version == 1


@pytest.mark.parametrize("step_ms", [3 * HOUR_MS, -YEARS_MS])
def test_an_envelope_that_had_expired_before_the_clock_was_set_is_refused(
    policy: LivePolicy, step_ms: int
) -> None:
    """It has expired by the time before and after the clock was set."""
    policy.latest_time = LatestTime(host=FiveMsUp())
    policy.latest_time.see(NOW_MS + HOUR_MS)
    with pytest.raises(JobExpired if step_ms > 0 else EnvelopeExpired):
        policy.authorise(EnvelopeSlice(sealed_by(1), 0, 2), NOW_MS + HOUR_MS + step_ms)


def test_an_envelope_that_no_client_signed_is_refused_whatever_the_clock(policy: LivePolicy) -> None:
    """A clock that was set keeps nothing in the queue that no client signed."""
    policy.latest_time = LatestTime(host=FiveMsUp())
    policy.latest_time.see(NOW_MS)
    sealed = bytearray(sealed_by(1))
    sealed[-1] ^= 1
    with pytest.raises(EnvelopeSignature):
        policy.authorise(EnvelopeSlice(bytes(sealed), 0, 2), NOW_MS + 3 * HOUR_MS)


def test_an_envelope_that_expires_after_the_latest_time_is_signed(policy: LivePolicy) -> None:
    """A clock that was set back by less than the envelope's life does not hold it up."""
    policy.latest_time.see(NOW_MS + 30_000)
    assert policy.authorise(EnvelopeSlice(sealed_by(1), 0, 2), NOW_MS).key_version.version == 1


def test_an_envelope_is_not_of_the_future_if_the_clock_had_shown_its_time(policy: LivePolicy) -> None:
    """This host's clock is behind then, and not the client's ahead: the job waits for another host or a correction."""
    slice_ = EnvelopeSlice(sealed_by(1), 0, 2)
    hour_ago_ms = NOW_MS - 3_600_000
    with pytest.raises(EnvelopeExpired):
        policy.authorise(slice_, hour_ago_ms)
    policy.latest_time.see(NOW_MS)
    with pytest.raises(ClockSetBack, match="set back by 3600 s"):
        policy.authorise(slice_, hour_ago_ms)


YEAR_2999_MS = 32_472_144_000_000


def test_a_directory_expires_within_the_lanes_own_time_to_live(policy: LivePolicy) -> None:
    """A worker can ask for a shorter life only."""
    ttl_ms = int(policy.service.worker.directory_ttl_s * 1000)
    request = SignDirectory(1, "acme", YEAR_2999_MS, YEAR_2999_MS)
    assert policy.directory_dates(request, NOW_MS) == (NOW_MS, NOW_MS + ttl_ms)
    shorter = SignDirectory(1, "acme", NOW_MS - 5, NOW_MS + 5)
    assert policy.directory_dates(shorter, NOW_MS) == (NOW_MS - 5, NOW_MS + 5)


@pytest.mark.parametrize(
    "first, count",
    [(-1, 1), (-1, 2), (-2, 2), (0, 0), (1, 0), (0, -1), (0, 3), (1, 2), (2, 1), (2**31, 1), (0, 2**31)],
)
def test_a_chunk_that_names_no_digests_of_its_envelope_is_refused(
    policy: LivePolicy, first: int, count: int
) -> None:
    """A range is not empty and within the digests: Python would take an index below 0 from the end."""
    with pytest.raises(EnvelopeMalformed, match="digests that the envelope does not have"):
        policy.authorise(EnvelopeSlice(sealed_by(1), first, count), NOW_MS)


@pytest.mark.parametrize("first, count", [(0, 1), (0, 2), (1, 1)])
def test_each_part_of_an_envelope_is_authorised(policy: LivePolicy, first: int, count: int) -> None:
    """The answer has all digests of the envelope: the caller takes its part of them."""
    assert len(policy.authorise(EnvelopeSlice(sealed_by(1), first, count), NOW_MS).digests) == 2


def test_an_older_file_is_refused_by_the_lane_itself(tmp_path: Path) -> None:
    """A worker that was taken over cannot bring a revoked client back; the newer rules stay in force."""
    service = written(tmp_path)
    file = tmp_path / "tenants" / "acme.toml"
    file.write_text(tenant_text().replace("epoch = 4", "epoch = 5").replace(client_line(), client_line(2)))
    policy = LivePolicy(service, token="acme", tenant="acme")
    file.write_text(tenant_text())
    assert "is 4, but 5 was adopted before" in policy.reload()
    assert policy.epochs == (0, 5)
    with pytest.raises(EnvelopeSignature):
        policy.authorise(EnvelopeSlice(sealed_by(1), 0, 1), NOW_MS)


ADA, EVE = ClientKey.generate(), ClientKey.generate()


def order_by(operator: ClientKey, *, tenant: str = "acme") -> bytes:
    """An order in the name of the operator `ada` that stops this tenant."""
    order = StopOrder(
        audience="test",
        order_id=bytes(range(16)),
        issued_at_ms=NOW_MS,
        operator="ada",
        scope="tenant",
        tenant=tenant,
    )
    return sign_order(order, operator)


@pytest.fixture
def with_operator(tmp_path: Path) -> LivePolicy:
    """The lane of acme, in a service with the operator `ada`."""
    service = written(tmp_path)
    spki = base64.b64encode(ADA.public_spki).decode()
    service.write_text(f'{service_text()}\n[operators.ada]\npublic_key = "{spki}"\n')
    return LivePolicy(service, token="acme", tenant="acme")


def test_an_order_that_its_operator_signed_is_obeyed(with_operator: LivePolicy) -> None:
    """It stops an envelope that was authorised before, and makes a new policy version."""
    slice_ = EnvelopeSlice(sealed_by(1), 0, 1)
    with_operator.authorise(slice_, NOW_MS)
    before = with_operator.policy_version
    with_operator.apply_orders([order_by(ADA)])
    with pytest.raises(PolicyDenied, match="an operator's order stops the tenant"):
        with_operator.authorise(slice_, NOW_MS)
    assert with_operator.policy_version > before


@pytest.mark.parametrize("signed", [order_by(EVE), order_by(ADA, tenant="globex"), b"\xc1"])
def test_other_orders_stop_nothing(with_operator: LivePolicy, signed: bytes) -> None:
    """One that another key signed in the operator's name, one against another tenant, and what is no order."""
    before = with_operator.policy_version
    with_operator.apply_orders([signed])
    with_operator.authorise(EnvelopeSlice(sealed_by(1), 0, 1), NOW_MS)
    assert with_operator.policy_version == before
