"""The issuer in processes of its own: a token of a real provider becomes a grant that verifies, and nothing else does."""

from __future__ import annotations

import base64
import contextlib
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from queueing.protocol.client_keys import ClientPublicKey
from queueing.protocol.grants.grant import Grant, read_grant
from queueing.protocol.grants.grant_request import MAX_REQUEST_BYTES
from tests.support.hsm.softhsm import SoftHsm
from tests.support.issuer.build import Build
from tests.support.issuer.provider import jwk
from tests.support.issuer.running import PIN, RunningIssuer
from tests.support.sigmill_cli import sigmill
from tests.support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningIssuer]:
    """An issuer that runs; tests leave its files as they are."""
    folder = tmp_path_factory.mktemp("issuer")
    with RunningIssuer(folder, SoftHsm(folder / "softhsm")) as running:
        running.start()
        yield running


def granted(issuer: RunningIssuer, body: bytes) -> Grant:
    status, answer, _ = issuer.post(body)
    assert status == 200, answer
    sealed = base64.b64decode(answer["grant"])
    return read_grant(sealed).verify(ClientPublicKey.from_spki(issuer.site.spki))


def test_a_token_becomes_a_grant(issuer: RunningIssuer) -> None:
    """The token's key signs a grant for the build's key; it is counted and in the log, and the token is in neither."""
    build, token = Build(), issuer.provider.token()
    grant = granted(issuer, build.request(token, "release"))
    assert grant.client_public_key == build.public
    assert (grant.tenant, grant.keys) == ("acme", ("release",))
    assert 'sigmill_grants_total{outcome="issued",provider="github"}' in issuer.metrics()
    until(lambda: any(e["grant"] == grant.client for e in issuer.events("issuer.granted")), "the event")
    assert token not in issuer.log()
    assert token.rpartition(".")[2] not in issuer.log()


def test_a_denial_names_the_rule_and_the_claim(issuer: RunningIssuer) -> None:
    """The caller gets 403, a code, a sentence and a hint."""
    status, answer, headers = issuer.post(Build().request(issuer.provider.token(ref="refs/heads/dev")))
    assert status == 403
    assert answer["error"]["code"] == "identity.refused"
    assert '`keys.release.identities[0]`: claim `ref` is "refs/heads/dev"' in answer["error"]["message"]
    assert headers["Cache-Control"] == "no-store"
    assert 'outcome="rule",provider="github"} ' in issuer.metrics()


def test_a_stolen_token_is_refused_after_the_front_and_its_lane_are_killed(issuer: RunningIssuer) -> None:
    """The register is on disk: another key gets nothing, the first one its grant."""
    build, token = Build(), issuer.provider.token()
    granted(issuer, build.request(token))
    issuer._front.kill()  # type: ignore[union-attr]
    issuer._front.wait(30)  # type: ignore[union-attr]
    issuer.start()
    status, answer, _ = issuer.post(Build().request(token))
    assert (status, answer["error"]["code"]) == (403, "identity.refused")
    assert "another key" in answer["error"]["message"]
    granted(issuer, build.request(token))


def test_a_lane_that_is_killed_is_started_again(issuer: RunningIssuer) -> None:
    """Callers get their grants from the next lane."""
    issuer.kill_lane()
    issuer.wait_for_another_lane()
    granted(issuer, Build().request(issuer.provider.token()))


@pytest.mark.parametrize(
    "body, status",
    [(b"", 400), (b"{", 400), (b"[" * 30_000, 400), (b"x" * (MAX_REQUEST_BYTES + 1), 413)],
)
def test_rubbish_is_refused(issuer: RunningIssuer, body: bytes, status: int) -> None:
    """The answer to any body is an error with a code."""
    answered, answer, _ = issuer.post(body)
    assert answered == status
    assert answer["error"]["code"] == "grant.malformed"


def test_other_paths_and_methods_are_refused(issuer: RunningIssuer) -> None:
    """Another path is 404, and another method 405."""
    assert issuer.post(b"", path="/")[0] == 404
    assert issuer.post(b"", method="GET")[0] == 405


def raw(issuer: RunningIssuer, data: bytes) -> bytes:
    """The answer to these bytes, over TLS, until the issuer hangs up or waits for more."""
    with (
        socket.create_connection(("127.0.0.1", issuer.port), timeout=30) as plain,
        issuer.tls().wrap_socket(plain, server_hostname="127.0.0.1") as tls,
    ):
        tls.settimeout(2)  # it may wait for more, and then says nothing
        answer = b""
        with contextlib.suppress(OSError):
            tls.sendall(data)
            while chunk := tls.recv(65536):
                answer += chunk
        return answer


@pytest.mark.parametrize(
    "data",
    [
        b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /v1/grants HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
        b"POST /v1/grants HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/grants HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        b"\x16\x03\x01" * 1000,
    ],
    ids=["long line", "many headers", "negative length", "huge chunk", "binary"],
)
def test_a_request_that_is_no_http_ends_its_connection_only(issuer: RunningIssuer, data: bytes) -> None:
    """The front answers 400 or hangs up, and serves the next caller."""
    answer = raw(issuer, data)
    assert not answer or answer.split(b" ")[1] == b"400"
    granted(issuer, Build().request(issuer.provider.token()))


def test_nothing_is_served_without_tls(issuer: RunningIssuer) -> None:
    """A plain request gets no answer of HTTP."""
    with socket.create_connection(("127.0.0.1", issuer.port), timeout=30) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in plain.recv(1000)


def test_new_keys_of_the_provider_are_used_after_a_refresh(issuer: RunningIssuer) -> None:
    """A token of a second key gets no grant before the refresh, and one after it."""
    provider = issuer.provider
    key, kid = provider.key, provider.kid
    provider.kid = "second"
    provider.keys = [*provider.keys, jwk(provider.key, "second")]
    body = Build().request(provider.token())
    assert issuer.post(body)[0] != 200
    issuer.run("refresh")
    granted(issuer, body)
    provider.key, provider.kid = key, kid


def test_the_front_holds_nothing_that_mints(issuer: RunningIssuer) -> None:
    """Neither the PIN nor a library of PKCS#11 is in the front's process: not in its memory map, environment or arguments."""
    front = issuer._front
    assert front is not None
    process = Path(f"/proc/{front.pid}")
    assert "softhsm" not in (process / "maps").read_text()
    assert PIN.encode() not in (process / "environ").read_bytes().replace(b"\0", b"=").split(b"=")
    assert PIN.encode() not in (process / "cmdline").read_bytes().split(b"\0")


def test_check_says_what_a_token_gets(issuer: RunningIssuer) -> None:
    """A token that was checked still gets its grant; one that a rule refuses ends with 77 and the claim."""
    file = issuer.folder / "token"
    token = issuer.provider.token()
    file.write_text(token)
    checked = issuer.run("check", "--token-file", str(file), "--tenant", "acme")
    assert checked["ok"]
    assert checked["keys"] == ["release"]
    granted(issuer, Build().request(token))
    file.write_text(issuer.provider.token(ref="refs/heads/dev"))
    words = ("--token-file", file, "--tenant", "acme", "--config", issuer.site.file)
    refused = sigmill("issuer", "check", *words)
    assert refused.code == 77
    assert "claim `ref`" in refused.err


def test_the_front_ends_in_order(issuer: RunningIssuer) -> None:
    """SIGTERM ends front and lane with exit code 0."""
    pid = issuer.events("issuer.lane_ready")[-1]["pid"]
    assert issuer.stop() == 0
    until(lambda: not Path(f"/proc/{pid}").exists(), "the lane has ended")
    issuer.start()
