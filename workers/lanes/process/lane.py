"""Lane process: the only process with a token's PIN, its login and its sessions.

It reads the configuration itself, receives frames from one worker at a time, verifies every envelope, and exits
rather than continue after a failure; its exit code gives the reason.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

from queueing.config.secrets import Secret
from queueing.errors import ConfigError, EnvelopeMalformed, SigningError, TokenUnavailable
from queueing.protocol.algorithms import DEFAULT_FOR_KEY
from queueing.protocol.jobs import WireError
from queueing.protocol.key_directory import directory_digest, encode_directory, encode_signed
from workers.config.service_file import SERVICE
from workers.config.settings import PinLogin
from workers.hsm import module
from workers.hsm.faults import NO_CODE, Action, HsmFailure
from workers.hsm.pin_guard import pin_attempt
from workers.hsm.process_hardening import each_call_within, one_login_at_a_time, one_start_at_a_time
from workers.hsm.sessions import open_pool
from workers.hsm.tokens import TokenSelect, properties_of, select_token
from workers.lanes.canary import service_version
from workers.lanes.exit_codes import LOGIN_TIMED_OUT, LaneExit
from workers.lanes.process.chunk_execution import ChunkExecution, RunLength
from workers.lanes.process.live_policy import LivePolicy
from workers.lanes.process.session_threads import RunWork, SessionThreads, Watchdog
from workers.lanes.process.statements import sign_statement
from workers.lanes.protocol import (
    Alive,
    Chunk,
    FromLane,
    LaneFailure,
    Outcomes,
    Ready,
    Reload,
    Reloaded,
    SignCanary,
    SignDirectory,
    SignedCanary,
    SignedDirectory,
    SignedStatement,
    SignStatement,
    Stop,
    encode_frame,
    read_to_lane,
)
from workers.state.latest_time import LatestTime
from workers.state.refused_pins import RefusedPins
from workers.state.token_claims import TokenTaken, claim_token
from workers.telemetry.log_writer import flush_logs

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from workers.config.service_file import ServiceConfiguration
    from workers.config.settings import TokenSettings
    from workers.hsm.sessions import SessionPool
    from workers.lanes.process.session_threads import SessionThread
    from workers.state.token_claims import TokenProperties

log = logging.getLogger("sigmill.lane")

LOGIN_GRACE_S: Final = 5.0
"""Time for the lane to end itself after a login that timed out; then the kernel ends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRole:
    """Token of a lane, and its tenant; tenant None is the service's own token.

    ``state_dir``: folder where the worker keeps the configuration in force; None for a host-started lane. ``own_state``:
    folder where such a lane keeps refused PINs, since it may not write the worker's; None: the service's `state_dir`.
    """

    file: Path
    token: str
    tenant: str | None
    sessions: int | None = None
    state_dir: Path | None = None
    own_state: Path | None = None


class Lane:
    """Lane: a logged-in token and its session threads, serving the frames of one connection."""

    def __init__(self, role: LaneRole, connection: socket.socket) -> None:
        self._role = role
        self._connection = connection
        self._send_lock = threading.Lock()
        self._policy = LivePolicy(role.file, token=role.token, tenant=role.tenant, state_dir=role.state_dir)
        self._service: ServiceConfiguration = self._policy.service
        self._policy.latest_time = LatestTime(role.own_state or self._service.state_dir)
        self._token: TokenSettings = self._service.tokens[role.token]

    def serve(self) -> None:
        """Log in, then answer frames until the worker sends Stop or hangs up."""
        try:
            pool, description, found = self._log_in()
        except HsmFailure as failure:
            self.end(failure)
        except SigningError as error:
            self.end(HsmFailure(error.reason, -1, Action.OPEN_CIRCUIT, detail=error.message))
        self._run_length = RunLength(len(pool.sessions))
        self._threads = SessionThreads(
            pool,
            run_length=self._run_length,
            verify=self._token.verify_after_sign,
            lane=self,
        )
        Watchdog(self._threads, call_timeout_s=self._token.call_timeout_s).start()
        self.send(
            Ready(
                os.getpid(),
                len(pool.sessions),
                pool.wanted,
                description,
                canaries=True,
                token=found,
                statements=True,
            )
        )
        with self._connection.makefile("rb") as stream:
            for message in read_to_lane(stream):
                if isinstance(message, Stop):
                    break
                self._receive(message)
        self._threads.stop()
        pool.close()

    def _log_in(self) -> tuple[SessionPool, str, TokenProperties]:
        token, settings = self._role.token, self._token
        os.environ.update(settings.environment)
        pin = Secret.from_file(settings.login.pin_file) if isinstance(settings.login, PinLogin) else None
        state_dir = self._role.own_state or self._service.state_dir
        select = settings.select
        call_s = settings.call_timeout_s
        # The refused PINs are read under the lock: a lane that waited for it knows what the one before it recorded.
        with one_login_at_a_time(state_dir, token), pin_attempt(RefusedPins(state_dir), token, pin):
            with one_start_at_a_time(state_dir, settings.module), each_call_within(call_s) as next_call:
                loaded = module.load(settings.module)
                next_call(call_s)
                found = select_token(
                    loaded, TokenSelect(slot=select.slot, label=select.label, serial=select.serial)
                )
                properties = properties_of(found)
                self._claim(state_dir, properties)  # before the PIN is tried: it may be that of another token
            with each_call_within(settings.login_timeout_s + LOGIN_GRACE_S) as next_call:
                watch = threading.Timer(settings.login_timeout_s, self._login_timed_out)
                watch.daemon = True
                watch.start()

                def begin_session() -> None:
                    watch.cancel()
                    next_call(call_s)

                try:
                    pool = open_pool(
                        found,
                        pin=pin,
                        count=(self._role.sessions or settings.sessions) if loaded.threads_allowed else 1,
                        protected_path=settings.login == "protected-path",
                        next_call=begin_session,
                    )
                finally:
                    watch.cancel()  # a refused PIN is recorded next, however long the disk takes
        return pool, loaded.description, properties

    def _claim(self, state_dir: Path, found: TokenProperties) -> None:
        """Claim the token for its owner; raises ``TokenUnavailable`` where it is another owner's."""
        token = self._role.token
        try:
            identity = found.identity(self._token.module)
            claim_token(state_dir, identity, table=token, owner=self._role.tenant or SERVICE)
        except TokenTaken as taken:
            raise TokenUnavailable(
                f"tokens.{token} finds the token of {taken.holder}: select another one by its serial and label"
            ) from None

    def _login_timed_out(self) -> NoReturn:
        """End by ourselves, so that the worker knows which call it was: the login may still run in the HSM."""
        waited_s = self._token.login_timeout_s
        detail = f"the login did not return within {waited_s:g} s (`login_timeout_s`)"
        self.end(HsmFailure(LOGIN_TIMED_OUT, NO_CODE, Action.OPEN_CIRCUIT, detail=detail))

    def reload(self) -> str:
        """Read the files again; returns the problem with them, or ''. Main thread only."""
        return self._policy.reload()

    def _receive(self, message: Chunk | SignDirectory | SignStatement | SignCanary | Reload) -> None:
        if isinstance(message, SignDirectory):
            issued_at_ms, expires_at_ms = self._policy.directory_dates(message, time.time_ns() // 1_000_000)
            bounded = SignDirectory(message.id, message.tenant, issued_at_ms, expires_at_ms)
            self._threads.queue.put(_DirectoryWork(bounded, self))
            return
        if isinstance(message, SignStatement):
            self._threads.queue.put(_StatementWork(message, self))
            return
        if isinstance(message, SignCanary):
            self._sign_canary(message)
            return
        if isinstance(message, Reload):
            self._policy.apply_orders(message.orders)
            problem = self.reload() if message.files else ""
            self.send(Reloaded(message.id, *self._policy.epochs, problem))
            return
        chunk = ChunkExecution(message.id, self, policy_version=self.policy_version)
        now_ms = time.time_ns() // 1_000_000
        for item in message.items:
            slice_ = chunk.add_slice(item.first, item.count)
            try:
                slice_.authorised = self._policy.authorise(item, now_ms)
            except SigningError as error:
                slice_.error = error
        self._put(chunk)

    def _put(self, chunk: ChunkExecution) -> None:
        for run in chunk.cut(self._run_length):
            self._threads.queue.put(RunWork(run, self._threads))

    def _sign_canary(self, request: SignCanary) -> None:
        """Sign a canary as a chunk of one digest, which the request does not contain: watched and recovered like any other."""
        chunk = ChunkExecution(request.id, _CanaryReply(self), policy_version=self.policy_version)
        slice_ = chunk.add_slice(0, 1)
        try:
            slice_.authorised = self._policy.canary(request, time.time_ns() // 1_000_000)
        except SigningError as error:
            slice_.error = error
        self._put(chunk)

    def sign_directory(self, request: SignDirectory, thread: SessionThread) -> bytes:
        """Directory of the tenant as this process reads it from its files, signed by the service key."""
        if self._role.tenant is not None:
            raise EnvelopeMalformed("a tenant's token signs no directories")
        tenant = self._policy.read_tenant(request.tenant)
        body = encode_directory(
            tenant.directory(
                audience=self._service.audience,
                issued_at_ms=request.issued_at_ms,
                expires_at_ms=request.expires_at_ms,
            )
        )
        public_key = self._service.service_key.public_key
        algorithm = DEFAULT_FOR_KEY[public_key.kind]
        version = service_version(self._service.service_key)
        signature = thread.signer(version).sign(algorithm, directory_digest(body, algorithm))
        return encode_signed(body, signature, public_key.sha256)

    def sign_statement(self, request: SignStatement, thread: SessionThread) -> bytes:
        """Origin statement of a tenant's log, signed by the service key."""
        if self._role.tenant is not None:
            raise EnvelopeMalformed("a tenant's token signs no statements")
        return sign_statement(request, self._service, thread)

    @property
    def policy_version(self) -> int:
        """Version of the policy in force."""
        return self._policy.policy_version

    def report_alive(self) -> None:
        """Report to the worker that calls of the module return."""
        self.send(Alive())

    def send(self, message: FromLane) -> None:
        """Send one message to the worker; called by any thread."""
        frame = encode_frame(message)
        try:
            with self._send_lock:
                self._connection.sendall(frame)
        except OSError:
            os._exit(LaneExit.DONE)  # the worker is gone: no answer is awaited

    def end(self, failure: HsmFailure) -> NoReturn:
        """Report the failure, then exit at once, without a call of the module."""
        log.error(
            "lane.ending", extra={"token": self._role.token, "code": failure.code_name, "why": str(failure)}
        )
        self.send(LaneFailure(failure.code_name, failure.action.value, failure.pin_failure))
        flush_logs()
        if failure.pin_failure:
            os._exit(LaneExit.PIN)
        os._exit(LaneExit.CIRCUIT if failure.action is Action.OPEN_CIRCUIT else LaneExit.REPLACE)


class _CanaryReply:
    """Sends the outcome of a chunk of one digest as the answer to ``SignCanary``."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    def send(self, outcomes: Outcomes) -> None:
        (item,) = outcomes.items
        if item.error is not None:
            self._lane.send(SignedCanary(outcomes.id, b"", item.error))
            return
        (signature,) = item.signatures
        self._lane.send(SignedCanary(outcomes.id, signature or b"", item.errors.get(0)))


class _DirectoryWork:
    """Request for a directory as work for a session thread."""

    def __init__(self, request: SignDirectory, lane: Lane) -> None:
        self._request = request
        self._lane = lane

    def on_thread(self, thread: SessionThread) -> None:
        try:
            signed = self._lane.sign_directory(self._request, thread)
        except SigningError as error:
            self._lane.send(SignedDirectory(self._request.id, b"", WireError.of(error)))
        except ConfigError as error:
            broken = WireError(code="key.unknown", message=f"the tenant's file is broken: {error}")
            self._lane.send(SignedDirectory(self._request.id, b"", broken))
        else:
            self._lane.send(SignedDirectory(self._request.id, signed))


class _StatementWork:
    """Request for an origin statement as work for a session thread."""

    def __init__(self, request: SignStatement, lane: Lane) -> None:
        self._request = request
        self._lane = lane

    def on_thread(self, thread: SessionThread) -> None:
        try:
            note = self._lane.sign_statement(self._request, thread)
        except SigningError as error:
            self._lane.send(SignedStatement(self._request.id, b"", WireError.of(error)))
        else:
            self._lane.send(SignedStatement(self._request.id, note))
