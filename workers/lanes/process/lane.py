"""Lane process: the only process with a token's PIN, its login and its sessions.

It reads the configuration itself, receives frames from one worker at a time, verifies every envelope, and exits
rather than continue after a failure; its exit code gives the reason.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, NoReturn

from msgspec.structs import replace

from queueing.ed25519 import load_libsodium
from queueing.errors import ConfigError, EnvelopeMalformed, SigningError
from queueing.protocol.algorithms import DEFAULT_FOR_KEY
from queueing.protocol.jobs import WireError
from queueing.protocol.key_directory import directory_digest, encode_directory, encode_signed
from queueing.unix_time import unix_ms
from workers.hsm.faults import Action, HsmFailure
from workers.journal.event_records import KeyOperations
from workers.lanes.canary import service_version
from workers.lanes.exit_codes import LaneExit
from workers.lanes.process.chunk_execution import ChunkExecution, RunLength
from workers.lanes.process.live_policy import LivePolicy
from workers.lanes.process.login import LaneLogin
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
from workers.telemetry.log_writer import flush_logs

if TYPE_CHECKING:
    import socket

    from workers.config.service_file import ServiceConfiguration
    from workers.config.settings import TokenSettings
    from workers.lanes.process.login import LaneRole
    from workers.lanes.process.session_threads import SessionThread

log = logging.getLogger("sigmill.lane")


class Lane:
    """Lane: a logged-in token and its session threads, serving the frames of one connection."""

    def __init__(self, role: LaneRole, connection: socket.socket) -> None:
        self._role = role
        self._connection = connection
        self._send_lock = threading.Lock()
        self._policy = LivePolicy(role.file, token=role.token, tenant=role.tenant, state_dir=role.state_dir)
        self._service: ServiceConfiguration = self._policy.service
        own_state = role.own_state or self._service.state_dir
        self._policy.latest_time = LatestTime(own_state)
        self._token: TokenSettings = self._service.tokens[role.token]
        self._login = LaneLogin(role, self._token, own_state, self)
        self._logged_in = False

    def serve(self) -> None:
        """Log in, then answer frames until the worker sends Stop or hangs up."""
        load_libsodium()
        try:
            logged_in = self._login.run()
        except HsmFailure as failure:
            self.end(failure)
        except SigningError as error:
            self.end(HsmFailure(error.reason, -1, Action.OPEN_CIRCUIT, detail=error.message))
        pool = logged_in.pool
        self._run_length = RunLength(len(pool.sessions))
        self._threads = SessionThreads(
            pool,
            run_length=self._run_length,
            verify=self._token.verify_after_sign,
            lane=self,
            native=logged_in.loop.native,
        )
        self._logged_in = True
        Watchdog(self._threads, call_timeout_s=self._token.call_timeout_s).start()
        self.send(
            Ready(
                os.getpid(),
                len(pool.sessions),
                pool.wanted,
                logged_in.module_description,
                canaries=True,
                token=logged_in.token,
                statements=True,
                loop=str(logged_in.loop)[:1000],
                tenant_epoch=self._policy.epochs[1],
            )
        )
        with self._connection.makefile("rb") as stream:
            for message in read_to_lane(stream):
                if isinstance(message, Stop):
                    break
                self._receive(message)
        self._threads.stop()
        pool.close()

    def reload(self) -> str:
        """Read the files again, and stop the runs under way; returns the problem with them, or ''. Main thread only."""
        problem = self._policy.reload()
        self._stop_runs()
        return problem

    def _stop_runs(self) -> None:
        """Let runs that were begun be authorised again by the policy in force; before the login there are none."""
        if self._logged_in:
            self._threads.stop_runs()

    def _receive(self, message: Chunk | SignDirectory | SignStatement | SignCanary | Reload) -> None:
        if isinstance(message, SignDirectory):
            issued_at_ms, expires_at_ms = self._policy.directory_dates(message, unix_ms())
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
            self._stop_runs()
            self.send(Reloaded(message.id, *self._policy.epochs, problem))
            return
        chunk = ChunkExecution(message.id, self, policy_version=self.policy_version)
        now_ms = unix_ms()
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
            slice_.authorised = self._policy.canary(request, unix_ms())
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

    def service_key_calls(self, thread: SessionThread, before: int) -> tuple[KeyOperations, ...]:
        """Calls of C_Sign with the service key on this thread, of which there were ``before`` in all at first."""
        key = service_version(self._service.service_key)
        return (KeyOperations(key.key, key.version, thread.spent.calls - before),)

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
            self._lane.send(SignedCanary(outcomes.id, b"", item.error, outcomes.operations))
            return
        (signature,) = item.signatures
        answer = SignedCanary(outcomes.id, signature or b"", item.errors.get(0), outcomes.operations)
        self._lane.send(answer)


class _DirectoryWork:
    """Request for a directory as work for a session thread."""

    def __init__(self, request: SignDirectory, lane: Lane) -> None:
        self._request = request
        self._lane = lane

    def on_thread(self, thread: SessionThread) -> None:
        before = thread.spent.calls
        try:
            answer = SignedDirectory(self._request.id, self._lane.sign_directory(self._request, thread))
        except SigningError as error:
            answer = SignedDirectory(self._request.id, b"", WireError.of(error))
        except ConfigError as error:
            broken = WireError(code="key.unknown", message=f"the tenant's file is broken: {error}")
            answer = SignedDirectory(self._request.id, b"", broken)
        self._lane.send(replace(answer, operations=self._lane.service_key_calls(thread, before)))


class _StatementWork:
    """Request for an origin statement as work for a session thread."""

    def __init__(self, request: SignStatement, lane: Lane) -> None:
        self._request = request
        self._lane = lane

    def on_thread(self, thread: SessionThread) -> None:
        before = thread.spent.calls
        try:
            answer = SignedStatement(self._request.id, self._lane.sign_statement(self._request, thread))
        except SigningError as error:
            answer = SignedStatement(self._request.id, b"", WireError.of(error))
        self._lane.send(replace(answer, operations=self._lane.service_key_calls(thread, before)))
