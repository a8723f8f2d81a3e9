"""Certificates of a trial: accepted by a client that verifies strictly, as Python does since 3.13."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from queueing.errors import ConfigError
from queueing.redis.faults import reason_of, refuse_final
from workers.dev.trial_tls import write_authority_and_server


def shake_hands(server: Path, ca_file: Path, host: str) -> None:
    """A TLS handshake in memory; raises ``ssl.SSLError`` where the client does not believe the server."""
    ours = ssl.create_default_context(cafile=str(ca_file))
    ours.verify_flags |= ssl.VERIFY_X509_STRICT
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(server / "server.pem", server / "server.key")
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        ours.wrap_bio(down, up, server_hostname=host),
        theirs.wrap_bio(up, down, server_side=True),
    ]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                continue


@pytest.mark.parametrize("host", ["redis", "127.0.0.1", "::1"])
def test_the_certificate_passes_the_strict_check(tmp_path: Path, host: str) -> None:
    """By name and by address."""
    shake_hands(tmp_path, write_authority_and_server(tmp_path, host=host), host)


def test_a_refused_certificate_is_told_by_its_own_fault_and_ends_the_wait(tmp_path: Path) -> None:
    """Also as the cause of redis-py's error; any other error is told by its kind, and is waited out."""
    ours, other = tmp_path / "ours", tmp_path / "other"
    for folder in (ours, other):
        folder.mkdir()
        write_authority_and_server(folder, host="redis")
    wrapped = ConnectionError("as redis-py has it")
    try:
        shake_hands(ours, other / "ca.pem", "redis")
    except ssl.SSLError as error:
        wrapped.__context__ = error
    assert reason_of(wrapped).startswith("the certificate of Redis is refused: ")
    with pytest.raises(ConfigError, match=r"redis\.tls.*certificate of Redis is refused"):
        refuse_final(wrapped)
    assert reason_of(ConnectionError("refused")) == "ConnectionError: refused"
    refuse_final(ConnectionError("refused"))
