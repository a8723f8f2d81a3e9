"""Certificate of a server: loaded when it changes, and kept where the new one cannot be used."""

from __future__ import annotations

import contextlib
import logging
import shutil
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from prometheus_client import CollectorRegistry

from queueing.errors import ConfigError
from tests.support.issuer.authority import Root
from workers.dev.trial_tls import write_authority_and_server
from workers.https.certificate import ServerCertificate, TlsFiles
from workers.telemetry.edge_metrics import HttpsMetrics


class CertificateSetup:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_authority_and_server(folder, host="127.0.0.1")
        self.registry = CollectorRegistry()

    def certificate(self, *, client_ca: str | None = None, required: bool = True) -> ServerCertificate:
        files = TlsFiles(
            certificate=self.folder / "server.pem",
            private_key=self.folder / "server.key",
            client_ca=None if client_ca is None else self.folder / client_ca,
            client_required=required,
            file="relay.toml",
            certificate_key="tls.certificate_file",
            client_ca_key="tls.client_ca_file",
        )
        return ServerCertificate(files, HttpsMetrics(self.registry))

    def replace(self, folder: Path, *names: str) -> None:
        write_authority_and_server(folder, host="127.0.0.1")
        for name in names:
            (self.folder / name).unlink()
            shutil.copy(folder / name, self.folder / name)

    def reloads(self) -> tuple[float | None, float | None]:
        name = "sigmill_https_certificate_reloads_total"
        adopted, refused = (
            self.registry.get_sample_value(name, {"result": result}) for result in ("adopted", "refused")
        )
        return adopted, refused


def client_of(folder: Path, own: Path | None = None) -> ssl.SSLContext:
    """Context of a client that believes the authority of ``folder``, with the certificate at ``own``."""
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.check_hostname = False
    if own is not None:
        context.load_cert_chain(own.with_suffix(".pem"), own.with_suffix(".key"))
    return context


def seen_by(made: ServerCertificate, client: ssl.SSLContext, name: str | None = None) -> bytes | None:
    """The server's certificate after a handshake in memory; raises what the server makes of the client's."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=name)
    other = made.context.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (one, other):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    return one.getpeercert(binary_form=True)


@pytest.fixture
def setup(tmp_path: Path) -> CertificateSetup:
    folder = tmp_path / "server"
    folder.mkdir()
    return CertificateSetup(folder)


@pytest.fixture
def others(tmp_path: Path) -> Path:
    folder = tmp_path / "others"
    folder.mkdir()
    return folder


def test_files_that_do_not_change_are_not_loaded_again(setup: CertificateSetup) -> None:
    """And both counters exist from the start: an alert on the first refusal needs the 0 before it."""
    setup.certificate().reload_if_changed()
    assert setup.reloads() == (0, 0)


@pytest.mark.parametrize("name", ["127.0.0.1", None])
def test_a_new_connection_of_the_listener_sees_the_renewed_certificate(
    setup: CertificateSetup, others: Path, name: str | None
) -> None:
    """Once it is loaded, not at each look; and whether the client names a host or not."""
    made = setup.certificate()
    listener, before = made.context, seen_by(made, client_of(setup.folder), name)
    setup.replace(others, "server.pem", "server.key")
    made.reload_if_changed()
    made.reload_if_changed()
    assert setup.reloads() == (1, 0)
    assert made.context is listener
    assert seen_by(made, client_of(others), name) != before


def test_clients_of_an_authority_that_has_been_removed_are_refused(
    setup: CertificateSetup, others: Path
) -> None:
    """And those of the new one are taken: a context of OpenSSL would have both for ever."""
    for name in ("old", "new"):
        root = Root(name)
        root.issue_to(others / name, x509.DNSName("build.example"))
        (others / f"{name}-ca.pem").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    shutil.copy(others / "old-ca.pem", setup.folder / "clients.pem")
    made = setup.certificate(client_ca="clients.pem")
    assert seen_by(made, client_of(setup.folder, others / "old"))
    shutil.copy(others / "new-ca.pem", setup.folder / "clients.pem")
    made.reload_if_changed()
    assert seen_by(made, client_of(setup.folder, others / "new"))
    with pytest.raises(ssl.SSLCertVerificationError):
        seen_by(made, client_of(setup.folder, others / "old"))


def test_no_session_is_resumed(setup: CertificateSetup) -> None:
    """A resumed one is not verified again."""
    context = setup.certificate().context
    assert context.num_tickets == 0
    assert context.options & ssl.OP_NO_TICKET


def test_a_key_of_another_certificate_leaves_the_old_one(
    setup: CertificateSetup, others: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused once, not again every five seconds."""
    made = setup.certificate()
    setup.replace(others, "server.key")
    with caplog.at_level(logging.ERROR, logger="sigmill.https"):
        made.reload_if_changed()
        made.reload_if_changed()
    assert setup.reloads() == (0, 1)
    assert [record.message for record in caplog.records] == ["https.certificate_refused"]


def test_files_that_could_not_be_read_for_a_while_are_read_again(
    setup: CertificateSetup, others: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process without a descriptor left cannot open them. Else an authority that was removed then would be believed until a restart."""
    made = setup.certificate()
    setup.replace(others, "server.pem", "server.key")
    with monkeypatch.context() as without:
        without.setattr(TlsFiles, "context", unreadable)
        made.reload_if_changed()
        made.reload_if_changed()
    assert setup.reloads() == (0, 1)
    made.reload_if_changed()
    made.reload_if_changed()
    assert setup.reloads() == (1, 1)
    assert seen_by(made, client_of(others), "127.0.0.1")


def unreadable(files: TlsFiles) -> ssl.SSLContext:
    """No context of these files."""
    raise ConfigError(files.file, files.certificate_key, "cannot be used: Too many open files", "Wait.")


def test_a_file_that_is_just_being_replaced_changes_nothing(setup: CertificateSetup, others: Path) -> None:
    """It is missing for a moment; the pair is adopted when both are there."""
    made = setup.certificate()
    kept = made.context
    (setup.folder / "server.pem").rename(setup.folder / "old.pem")
    made.reload_if_changed()
    assert made.context is kept
    (setup.folder / "old.pem").rename(setup.folder / "server.pem")
    setup.replace(others, "server.pem", "server.key")
    made.reload_if_changed()
    assert setup.reloads()[0] == 1


@pytest.mark.parametrize("name", ["server.pem", "server.key"])
def test_no_server_starts_without_them(setup: CertificateSetup, name: str) -> None:
    """The error names the setting."""
    (setup.folder / name).write_text("rubbish")
    with pytest.raises(ConfigError, match=r"tls\.certificate_file"):
        setup.certificate()


@pytest.mark.parametrize("required, mode", [(True, ssl.CERT_REQUIRED), (False, ssl.CERT_OPTIONAL)])
def test_client_certificates_are_asked_for(
    setup: CertificateSetup, required: bool, mode: ssl.VerifyMode
) -> None:
    """Where authorities are named: required of a relay's clients, optional at an issuer, which takes tokens as well."""
    assert setup.certificate().context.verify_mode == ssl.CERT_NONE
    setup.registry = CollectorRegistry()
    assert setup.certificate(client_ca="ca.pem", required=required).context.verify_mode == mode


def test_authorities_that_cannot_be_read_stop_the_start(setup: CertificateSetup) -> None:
    """Else each client would be refused."""
    with pytest.raises(ConfigError, match=r"tls\.client_ca_file"):
        setup.certificate(client_ca="nowhere.pem")
