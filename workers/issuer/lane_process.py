"""The issuer's lane: the only process with the PIN of the issuer's token, and the only one that decides about grants.

It answers one request at a time. After a failure of the token it exits, and a new one logs in: its exit code gives the reason.
"""

from __future__ import annotations

import hashlib
import logging
import os
import signal
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import msgspec

from queueing.ed25519 import load_libsodium
from queueing.errors import ConfigError, IssuerUnavailable, SigningError
from queueing.files.durable_file import make_folder
from queueing.protocol.algorithms import Algorithm
from workers.host_socket import bind_at
from workers.hsm.faults import Action, HsmFailure
from workers.hsm.keys import find_key
from workers.hsm.process_hardening import each_call_within
from workers.hsm.signing import Signer
from workers.issuer.frames import (
    FromLane,
    LaneEnding,
    LaneReady,
    encode_frame,
    read_requests,
)
from workers.issuer.identity.used_tokens import UsedTokens
from workers.issuer.minting import Issuer
from workers.issuer.refresh_socket import RefreshSender
from workers.issuer.rule_files import RuleFiles
from workers.lanes.exit_codes import LaneExit
from workers.lanes.process.login import LaneLogin, LaneRole
from workers.state.directory import LogInUse, own_folder
from workers.telemetry.log_writer import flush_logs

if TYPE_CHECKING:
    from workers.issuer.issuer_file import IssuerConfiguration

log = logging.getLogger("sigmill.issuer")

USED_TOKENS: Final = "used-tokens"
"""Name of the register in ``state_dir``."""

_PEER: Final = struct.Struct("3i")
"""``struct ucred`` (unix(7), SO_PEERCRED)."""


class IssuerLane:
    """Lane that is logged in, and answers the front on one connection after the other."""

    def __init__(self, configuration: IssuerConfiguration) -> None:
        self._configuration = configuration
        self._connection: socket.socket | None = None

    def serve_child(self, connection: socket.socket) -> None:
        """Log in and answer until the front that started this process hangs up."""
        self._connection = connection
        issuer = self._start()
        self._serve(issuer, connection)

    def serve_host(self, place: Path) -> None:
        """Log in, then listen at ``place`` and answer fronts of the uid ``front_uid``, one at a time, for ever.

        Raises ``ConfigError`` where it cannot listen there.
        """
        issuer = self._start()
        uid = os.getuid() if self._configuration.front_uid is None else self._configuration.front_uid
        setting = str(self._configuration.file)
        with bind_at(place, socket.SOCK_STREAM, file=setting, key="issuer.socket") as listener:
            listener.listen(4)
            while True:
                connection, _ = listener.accept()
                with connection:
                    _, peer, _ = _PEER.unpack(
                        connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
                    )
                    if peer != uid:
                        log.warning("lane.stranger", extra={"uid": peer})
                        continue
                    self._connection = connection
                    self._serve(issuer, connection)

    def end(self, failure: HsmFailure) -> NoReturn:
        """Report the failure, then exit at once, without a call of the module."""
        log.error(
            "lane.ending",
            extra={"token": self._configuration.token, "code": failure.code_name, "why": str(failure)},
        )
        self._send(LaneEnding(failure.code_name))
        flush_logs()
        if failure.pin_failure:
            os._exit(LaneExit.PIN)
        os._exit(LaneExit.CIRCUIT if failure.action is Action.OPEN_CIRCUIT else LaneExit.REPLACE)

    def _start(self) -> Issuer:
        load_libsodium()
        configuration = self._configuration
        state_dir = configuration.state_dir
        make_folder(state_dir)
        try:
            own_folder(state_dir)
        except LogInUse as error:
            raise ConfigError(
                str(configuration.file),
                "issuer.state_dir",
                f"is used by process {error.pid}: another lane of the issuer",
                "Stop it, or give this one a state_dir of its own.",
            ) from None
        role = LaneRole(file=configuration.file, token=configuration.token, tenant=None, sessions=1)
        login = LaneLogin(role, configuration.token_settings, state_dir, self)
        try:
            logged_in = login.run()
        except HsmFailure as failure:
            self.end(failure)
        except SigningError as error:
            self.end(HsmFailure(error.reason, -1, Action.OPEN_CIRCUIT, detail=error.message))
        self._module = logged_in.module_description
        with each_call_within(configuration.token_settings.call_timeout_s):
            try:
                found = find_key(logged_in.pool.sessions[0], configuration.public_key)
            except HsmFailure as failure:
                self.end(failure)
            except SigningError as error:
                self.end(HsmFailure("KEY_NOT_FOUND", -1, Action.OPEN_CIRCUIT, detail=error.message))
        key = _TokenKey(
            Signer(found, configuration.public_key), self, configuration.token_settings.call_timeout_s
        )
        return Issuer(
            configuration,
            files=RuleFiles(configuration),
            used=UsedTokens(state_dir / USED_TOKENS),
            key=key,
            refresh=RefreshSender(configuration.refresh_socket),
        )

    def _serve(self, issuer: Issuer, connection: socket.socket) -> None:
        self._send(LaneReady(os.getpid(), self._module[:4096]))
        try:
            with connection.makefile("rb") as stream:
                for asked in read_requests(stream):
                    self._send(issuer.answer(asked))
        except (msgspec.MsgspecError, ValueError) as error:
            log.error("issuer.frame_wrong", extra={"why": type(error).__name__})
        self._connection = None

    def _send(self, message: FromLane) -> None:
        if self._connection is not None:
            try:
                self._connection.sendall(encode_frame(message))
            except OSError:  # the front is gone; reading says so next
                self._connection = None


class _TokenKey:
    """Key in the token; a call that does not return ends the process."""

    def __init__(self, signer: Signer, lane: IssuerLane, call_timeout_s: float) -> None:
        self._signer = signer
        self._lane = lane
        self._call_timeout_s = call_timeout_s

    def sign(self, message: bytes) -> bytes:
        """Signature over the SHA-256 of the message. Raises ``IssuerUnavailable``; a failure of the token ends the lane."""
        with each_call_within(self._call_timeout_s):
            try:
                return self._signer.sign(Algorithm.ECDSA_SHA_256, hashlib.sha256(message).digest())
            except HsmFailure as failure:
                if failure.action is not Action.PERMANENT:
                    self._lane.end(failure)
                raise IssuerUnavailable("the token refused to sign the grant") from None


def ignore_hangup() -> None:
    """Ignore SIGHUP: files are read again when they change."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
