"""The issuer as the host starts it: a lane behind a socket, keys fetched on request, and identities by certificate."""

from __future__ import annotations

import base64
import os
import socket
import ssl
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from queueing.protocol.client_keys import ClientPublicKey
from queueing.protocol.grants.grant import Grant, read_grant
from queueing.protocol.grants.grant_request import encode_json, make_request
from tests.support.hsm.softhsm import SoftHsm
from tests.support.issuer.authority import Root
from tests.support.issuer.build import Build
from tests.support.issuer.provider import jwk
from tests.support.issuer.running import RunningIssuer
from tests.support.issuer.site import AUDIENCE
from tests.support.waiting import until
from workers.issuer.frames import (
    LENGTH,
    Granted,
    LaneReady,
    Refused,
    RequestGrant,
    decode_answer,
    encode_frame,
    frame_length,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from typing import BinaryIO

    from workers.issuer.frames import FromLane

SPIFFE = "spiffe://build.example/ns/ci/sa/signer"
MESH = Root("mesh")


class HostIssuer:
    """Issuer of three processes that the host starts."""

    def __init__(self, running: RunningIssuer, lane: subprocess.Popen[bytes]) -> None:
        self.running = running
        self.lane = lane

    def granted(self, body: bytes, tls: ssl.SSLContext | None = None) -> Grant:
        status, answer, _ = self.running.post(body, tls=tls)
        assert status == 200, answer
        sealed = base64.b64decode(answer["grant"])
        return read_grant(sealed).verify(ClientPublicKey.from_spki(self.running.site.spki))

    def with_certificate(self, root: Root, name: str) -> ssl.SSLContext:
        """TLS of a client with a certificate of this name."""
        folder = self.running.folder
        root.issue_to(folder / "client", x509.UniformResourceIdentifier(name))
        context = self.running.tls()
        context.load_cert_chain(folder / "client.pem", folder / "client.key")
        return context


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostIssuer]:
    folder = tmp_path_factory.mktemp("issuer")
    (folder / "mesh.pem").write_bytes(MESH.certificate.public_bytes(Encoding.PEM))
    with RunningIssuer(folder, SoftHsm(folder / "softhsm")) as running:
        running.write(
            issuer=f'socket = "lane.sock"\nfront_uid = {os.getuid()}\nrefresh_socket = "refresh.sock"',
            http='client_ca = "mesh.pem"',
            tables='[certificates.mesh]\nca_file = "mesh.pem"\ntrust_domain = "build.example"',
        )
        running.site.write_tenant(
            more='[[keys.release.identities]]\nissuer_url = "x509:mesh"\n'
            f'claims = {{ spiffe_id = "{SPIFFE}" }}\n'
        )
        with (folder / "other.log").open("ab") as log:
            lane, refresh = running.spawn("lane", log), running.spawn("refresh", log, "--watch")
        try:
            until((folder / "lane.sock").exists, "the lane listens")
            until((folder / "refresh.sock").exists, "the refresh listens")
            running.start()
            yield HostIssuer(running, lane)
        finally:
            running.stop()
            for process in (lane, refresh):
                process.terminate()
                process.wait(30)


def test_a_lane_behind_a_socket_serves_one_front_after_the_other(issuer: HostIssuer) -> None:
    """The front ends, the lane stays logged in and serves the next one; the token is still the first key's."""
    build, token = Build(), issuer.running.provider.token()
    issuer.granted(build.request(token))
    issuer.running.stop()
    issuer.running.start()
    assert issuer.lane.poll() is None
    issuer.granted(build.request(token))
    status, answer, _ = issuer.running.post(Build().request(token))
    assert (status, answer["error"]["code"]) == (403, "identity.refused")


def test_a_new_key_of_the_provider_is_fetched_when_a_token_names_it(issuer: HostIssuer) -> None:
    """The caller is told to come back, and comes back to a grant, without a command."""
    provider = issuer.running.provider
    issuer.running.site.write_keys(fetched_s=time.time() - 60)
    key, kid = provider.key, provider.kid
    provider.kid = "rotated"
    provider.keys = [*provider.keys, jwk(provider.key, "rotated")]
    body = Build().request(provider.token())
    status, answer, headers = issuer.running.post(body)
    assert (status, answer["error"]["code"]) == (503, "issuer.unavailable")
    assert int(headers["Retry-After"]) == 2
    until(lambda: issuer.running.post(body)[0] == 200, "the key was fetched")
    provider.key, provider.kid = key, kid


def test_a_spiffe_certificate_is_an_identity(issuer: HostIssuer) -> None:
    """A client with a certificate and no token gets the grant of its SPIFFE ID."""
    tls = issuer.with_certificate(MESH, SPIFFE)
    grant = issuer.granted(Build().request(""), tls)
    assert grant.subject == SPIFFE
    assert 'outcome="issued",provider="mesh"' in issuer.running.metrics()


def test_a_certificate_of_another_name_gets_nothing(issuer: HostIssuer) -> None:
    """The rule has one SPIFFE ID, and one that begins like it is another."""
    status, answer, _ = issuer.running.post(
        Build().request(""), tls=issuer.with_certificate(MESH, SPIFFE + "2")
    )
    assert status == 403
    assert "claim `spiffe_id` is" in answer["error"]["message"]


def test_a_certificate_of_a_stranger_ends_the_connection(issuer: HostIssuer) -> None:
    """TLS itself refuses what no authority has signed."""
    stranger = Root("mesh")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        issuer.running.post(Build().request(""), tls=issuer.with_certificate(stranger, SPIFFE))


def test_a_caller_without_certificate_and_token_gets_nothing(issuer: HostIssuer) -> None:
    """A request without a certificate and with an empty token is refused with 403."""
    status, answer, _ = issuer.running.post(Build().request(""))
    assert (status, answer["error"]["code"]) == (403, "identity.refused")


def test_an_attacker_in_the_front_gets_no_grant_for_a_key_of_its_own(issuer: HostIssuer) -> None:
    """With the socket, and every request that came by, it gets the builds' own grants again, and nothing else."""
    running = issuer.running
    build, thief = Build(), Build()
    token = running.provider.token()
    body = build.request(token)
    issuer.granted(body)
    running.stop()
    own = make_request(
        token=token, public_key=thief.public, signer=thief.key, audience=AUDIENCE, tenant="acme", keys=()
    )
    forged = [
        encode_json(own),
        body.replace(base64.b64encode(build.public), base64.b64encode(thief.public)),
        encode_json(msgspec.structs.replace(own, token=running.provider.token()[:-8] + "AAAAAAAA")),
        encode_json(msgspec.structs.replace(own, token="")),
    ]
    with socket.socket(socket.AF_UNIX) as lane:
        lane.connect(str(running.folder / "lane.sock"))
        lane.settimeout(30)
        with lane.makefile("rb") as stream:
            assert isinstance(_read(stream), LaneReady)
            for number, request in enumerate(forged):
                lane.sendall(encode_frame(RequestGrant(number, request)))
                answer = _read(stream)
                assert isinstance(answer, Refused)
                assert answer.id == number
            lane.sendall(encode_frame(RequestGrant(9, body)))
            again = _read(stream)
            assert isinstance(again, Granted)
            assert read_grant(again.grant).grant.client_public_key == build.public
            lane.sendall(b"\xff" * 1000)
            assert stream.read() == b""
    running.start()
    issuer.granted(Build().request(running.provider.token()))
    assert issuer.lane.poll() is None


def _read(stream: BinaryIO) -> FromLane:
    return decode_answer(stream.read(frame_length(stream.read(LENGTH.size))))
