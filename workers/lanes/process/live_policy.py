"""Policy in force in a lane: its own reading of the configuration files and of the signed stop orders.

The worker tells the lane when to reload, hands it the stop orders, each of which the lane verifies, and starts it from the
copies of the files in force in ``state_dir``, whose epochs the lane checks. It cannot give the lane a policy of its own. The
epoch of an adopted file only grows. ``policy_version`` counts every change: work that was authorised by an older one is not begun.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from queueing.config.toml import parse_toml, read_text
from queueing.errors import (
    ClockSetBack,
    ConfigError,
    EnvelopeExpired,
    EnvelopeMalformed,
    PolicyDenied,
    SigningError,
    TokenUnavailable,
)
from queueing.files.folders import is_there
from queueing.protocol.envelope import UnverifiedEnvelope, read_unverified
from queueing.protocol.stop_orders import OrderInvalid, StopOrder, read_order, verify_order
from workers.config.service_file import service_of
from workers.config.snapshots import Stamp, refuse_other_place, stamp_of
from workers.config.stop_rules import Stops
from workers.config.tenant_file import tenant_of
from workers.lanes.authorisation import CLOCK_SKEW_MS, authorise
from workers.lanes.canary import CanaryPace, service_canary, tenant_canary
from workers.lanes.grant_usage import GrantUsage
from workers.lanes.signatories import VerifiedGrants
from workers.state.adopted_config import AdoptedFiles, refuse_older_service, refuse_older_tenant
from workers.state.directory import reading_state
from workers.state.latest_time import LatestTime
from workers.state.stop_orders import StopOrderFolder

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from workers.config.service_file import ServiceConfiguration
    from workers.config.tenants import Tenant
    from workers.lanes.authorisation import Authorised
    from workers.lanes.protocol import EnvelopeSlice, SignCanary, SignDirectory

log = logging.getLogger("sigmill.lane")

ENVELOPES_REMEMBERED: Final = 64
"""More envelopes than are cut into slices at a time: a lane has two chunks."""


@dataclass(frozen=True, slots=True)
class _FileInForce:
    """Configuration file in force; ``stamp`` None when it was read from the worker's copy."""

    text: str
    stamp: Stamp | None


class LivePolicy:
    """Policy in force. Changed by the lane's main thread only; each change is one assignment.

    ``state_dir``: folder where the worker that started this lane keeps copies of the configuration in force, with which
    the lane starts.
    """

    def __init__(self, file: Path, *, token: str, tenant: str | None, state_dir: Path | None = None) -> None:
        self._file = file.resolve()
        self._token = token
        self._tenant_name = tenant
        self._copies = None if state_dir is None else AdoptedFiles(state_dir)
        self._verified: dict[bytes, UnverifiedEnvelope] = {}
        self._grants = VerifiedGrants()
        self._usage = GrantUsage()
        self._canaries = CanaryPace()
        self.latest_time = LatestTime()
        self._orders: dict[bytes, StopOrder] = {}
        self._stops = Stops()
        self._tenant_file: _FileInForce | None = None
        self.policy_version = 0
        self.service, self._service_file = self._start_service()
        self.tenant: Tenant | None = None
        if tenant is not None:
            self.tenant, self._tenant_file = self._start_tenant(tenant)
        for signed in self._kept_orders():
            self._keep_order(read_order(signed, self.service.audience))
        self._policy_changed()

    @property
    def epochs(self) -> tuple[int, int]:
        """Epochs of the service's file and of the tenant's; -1 where the lane has no tenant, or no longer."""
        return self.service.epoch, -1 if self.tenant is None else self.tenant.epoch

    def authorise(self, item: EnvelopeSlice, now_ms: int) -> Authorised:
        """Authorise one slice; raises a ``SigningError``."""
        if self._tenant_name is None:
            raise EnvelopeMalformed("the service's token signs no envelopes")
        if self.tenant is None:
            raise PolicyDenied("rule `state`: the tenant is not configured any more")
        latest_ms = self.latest_time.see(now_ms)  # before any check: a refused envelope shows the time, too
        verified = self._verified.get(item.sealed)
        unverified = verified or read_unverified(item.sealed)
        if not 0 <= item.first < item.first + item.count <= len(unverified.envelope.digests):
            raise EnvelopeMalformed("the chunk names digests that the envelope does not have")
        try:
            authorised = authorise(
                unverified,
                self.tenant,
                audience=self.service.audience,
                now_ms=now_ms,
                stops=self._stops,
                verified_before=verified is not None,
                grants=self._grants,
            )
        except SigningError as error:
            raise self._doubt_of(error, unverified, self.tenant, now_ms, latest_ms) or error from None
        if authorised.expires_at_ms + CLOCK_SKEW_MS <= latest_ms:
            # Expired by the latest time, and not by the clock: which of the two is right cannot be told here.
            raise _clock_set(now_ms - latest_ms)
        if verified is None and item.count < len(unverified.envelope.digests):
            self._remember(item.sealed, unverified)
        if self._token not in authorised.key_version.tokens:
            # The worker routed by older rules: its next try is routed by those that are in force.
            raise TokenUnavailable("the key that signs now is not in this lane's token")
        if authorised.grant is not None:
            # The worker counts for all lanes of the host, durably; this count holds whatever the worker says, while the lane lives.
            self._usage.charge(authorised.grant, unverified, now_ms)
        return authorised

    def _doubt_of(
        self, error: SigningError, unverified: UnverifiedEnvelope, tenant: Tenant, now_ms: int, latest_ms: int
    ) -> ClockSetBack | None:
        """Error that requeues an envelope which only the step of a clock had refused; None where the refusal stands.

        Costs a second verification of the envelope while the clock is off the course that it had.
        """
        if isinstance(error, EnvelopeExpired) and (
            now_ms < unverified.envelope.issued_at_ms - CLOCK_SKEW_MS <= latest_ms
        ):
            return _clock_set(now_ms - latest_ms)  # it is not the client's clock that is wrong
        left_ms = self.latest_time.left_course_ms
        if left_ms is None:
            return None
        try:
            audience, stops, grants = self.service.audience, self._stops, self._grants
            authorise(unverified, tenant, audience=audience, now_ms=left_ms, stops=stops, grants=grants)
        except SigningError:
            return None
        return _clock_set(now_ms - left_ms)

    def directory_dates(self, request: SignDirectory, now_ms: int) -> tuple[int, int]:
        """Dates of a directory, in Unix ms: within ``directory_ttl_s`` of this process's own clock, whatever was requested."""
        now_ms = self.latest_time.see(now_ms)
        latest_ms = now_ms + int(self.service.worker.directory_ttl_s * 1000)
        return min(request.issued_at_ms, now_ms), min(request.expires_at_ms, latest_ms)

    def canary(self, request: SignCanary, now_ms: int) -> Authorised:
        """Authorise the canary's constant for a key of this lane that may sign now; raises a ``SigningError``."""
        if self._tenant_name is None:
            canary = service_canary(self.service.service_key)
        elif self.tenant is None:
            raise PolicyDenied("rule `state`: the tenant is not configured any more")
        else:
            canary = tenant_canary(
                self.tenant, self._token, request.key, request.version, now_ms=now_ms, stops=self._stops
            )
        self._canaries.check(canary.key_version.public_key.sha256, time.monotonic())
        return canary

    def _remember(self, sealed: bytes, unverified: UnverifiedEnvelope) -> None:
        """Keep a verified envelope: its other slices come soon, and the same bytes need no second verification."""
        if len(self._verified) >= ENVELOPES_REMEMBERED:
            del self._verified[next(iter(self._verified))]
        self._verified[sealed] = unverified

    def reload(self) -> str:
        """Read the changed files again and adopt them; returns the problem with them, or '' where they are adopted."""
        try:
            service, service_file = self._read_service(self._service_file)
            tenant, tenant_file = self._read_tenant_again(service)
        except ConfigError as error:
            log.error("lane.reload_refused", extra={"token": self._token, "why": str(error)})
            return str(error)
        self.service = service
        if tenant != self.tenant:
            self.tenant = tenant
            self._policy_changed()
            log.info("lane.reloaded", extra={"token": self._token, "epochs": self.epochs})
        self._service_file, self._tenant_file = service_file, tenant_file
        return ""

    def apply_orders(self, orders: Iterable[bytes]) -> None:
        """Verify these stop orders, and apply those that an operator has signed."""
        before = len(self._orders)
        for signed in orders:
            try:
                order = verify_order(signed, self.service.audience, self.service.operators)
            except OrderInvalid as error:
                log.warning("lane.order_refused", extra={"token": self._token, "why": str(error)})
                continue
            self._keep_order(order)
        if len(self._orders) != before:
            self._policy_changed()
            log.warning("lane.order_adopted", extra={"token": self._token, "orders": len(self._orders)})

    def read_tenant(self, name: str) -> Tenant:
        """Configuration in force of any tenant, for its key directory; raises ``ConfigError``."""
        return self._start_tenant(name)[0]

    def _keep_order(self, order: StopOrder) -> None:
        if order.tenant == self._tenant_name:
            self._orders[order.order_id] = order

    def _policy_changed(self) -> None:
        if self.tenant is not None:
            self._stops = Stops.of(self.tenant, self._orders.values())
        self._verified = {}  # a client's key may be another one now
        self.policy_version += 1

    def _start_service(self) -> tuple[ServiceConfiguration, _FileInForce]:
        """Read the worker's copy of the service file; the file itself for a host-started lane, or where there is no copy."""
        text = None if self._copies is None else self._copies.service_text()
        if text is None:
            return self._read_service(None)
        return service_of(self._file, parse_toml(self._file, text)), _FileInForce(text, None)

    def _start_tenant(self, name: str) -> tuple[Tenant, _FileInForce]:
        text = None if self._copies is None else self._copies.tenant_text(name)
        if text is None:
            return self._load_tenant(self.service, name, None)
        file = self.service.tenant_file(name)
        return tenant_of(file, parse_toml(file, text), self.service.tokens), _FileInForce(text, None)

    def _kept_orders(self) -> Collection[bytes]:
        """Signed orders that the worker keeps; ``ConfigError`` where they cannot be listed or read."""
        try:
            with reading_state(self._file):
                return StopOrderFolder(self.service.state_dir).read(self.service.audience).values()
        except ConfigError as error:
            if isinstance(error.__cause__, PermissionError):
                return ()  # a lane's own user may not list them: the worker forwards what it knows
            raise

    def _read_service(self, in_force: _FileInForce | None) -> tuple[ServiceConfiguration, _FileInForce]:
        stamp = stamp_of(self._file)
        if in_force is not None and in_force.stamp == stamp:
            return self.service, in_force
        text = read_text(self._file)
        service = service_of(self._file, parse_toml(self._file, text))
        memory = AdoptedFiles(service.state_dir)
        adopted = in_force.text if in_force is not None else memory.service_text()
        refuse_older_service(self._file, text, adopted, newest=memory.newest_service_epoch())
        if in_force is not None:
            refuse_other_place(self._file, service, self.service)
        return service, _FileInForce(text, stamp)

    def _read_tenant_again(self, service: ServiceConfiguration) -> tuple[Tenant | None, _FileInForce | None]:
        """The tenant as its file is now; None where the file is gone: nothing is signed for it from now on."""
        if self._tenant_name is None:
            return None, None
        file = service.tenant_file(self._tenant_name)
        if _is_gone(file):
            return None, self._tenant_file
        in_force = self._tenant_file
        if in_force is not None and in_force.stamp == stamp_of(file) and self.tenant is not None:
            return self.tenant, in_force
        return self._load_tenant(service, self._tenant_name, in_force)

    def _load_tenant(
        self, service: ServiceConfiguration, name: str, in_force: _FileInForce | None
    ) -> tuple[Tenant, _FileInForce]:
        file = service.tenant_file(name)
        stamp = stamp_of(file)
        text = read_text(file)
        tenant = tenant_of(file, parse_toml(file, text), service.tokens)
        memory = AdoptedFiles(service.state_dir)
        adopted = in_force.text if in_force is not None else memory.tenant_text(name)
        refuse_older_tenant(file, text, adopted, newest=memory.newest_tenant_epoch(name))
        return tenant, _FileInForce(text, stamp)


def _clock_set(by_ms: int) -> ClockSetBack:
    how = f"ahead by {by_ms // 1000}" if by_ms > 0 else f"back by {-by_ms // 1000}"
    return ClockSetBack(f"the host's clock was set {how} s: it cannot be told whether the envelope is valid")


def _is_gone(file: Path) -> bool:
    """Whether the folder is there without it. An error is not absence: reading the file tells it."""
    try:
        return is_there(file.parent) and not is_there(file)
    except OSError:
        return False
