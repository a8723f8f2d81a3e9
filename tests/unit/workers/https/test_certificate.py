"""Certificate of a server: loaded when it changes, and kept where the new one cannot be used."""

from __future__ import annotations

import logging
import shutil
import ssl
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from queueing.errors import ConfigError
from workers.dev.trial_tls import write_authority_and_server
from workers.https.certificate import ServerCertificate, TlsFiles
from workers.telemetry.edge_metrics import HttpsMetrics


class Scene:
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


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    folder = tmp_path / "server"
    folder.mkdir()
    return Scene(folder)


@pytest.fixture
def others(tmp_path: Path) -> Path:
    folder = tmp_path / "others"
    folder.mkdir()
    return folder


def test_files_that_do_not_change_are_not_loaded_again(scene: Scene) -> None:
    """And both counters exist from the start: an alert on the first refusal needs the 0 before it."""
    scene.certificate().reload_if_changed()
    assert scene.reloads() == (0, 0)


def test_a_renewed_certificate_is_loaded_into_the_same_context(scene: Scene, others: Path) -> None:
    """The listener has that context; new connections see the new certificate. Once, not at each look."""
    made = scene.certificate()
    context = made.context
    scene.replace(others, "server.pem", "server.key")
    made.reload_if_changed()
    made.reload_if_changed()
    assert scene.reloads() == (1, 0)
    assert made.context is context


def test_a_key_of_another_certificate_leaves_the_old_one(
    scene: Scene, others: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused once, not again every five seconds."""
    made = scene.certificate()
    scene.replace(others, "server.key")
    with caplog.at_level(logging.ERROR, logger="sigmill.https"):
        made.reload_if_changed()
        made.reload_if_changed()
    assert scene.reloads() == (0, 1)
    assert [record.message for record in caplog.records] == ["https.certificate_refused"]


def test_a_file_that_is_just_being_replaced_changes_nothing(scene: Scene, others: Path) -> None:
    """It is missing for a moment; the pair is adopted when both are there."""
    made = scene.certificate()
    kept = made.context
    (scene.folder / "server.pem").rename(scene.folder / "old.pem")
    made.reload_if_changed()
    assert made.context is kept
    (scene.folder / "old.pem").rename(scene.folder / "server.pem")
    scene.replace(others, "server.pem", "server.key")
    made.reload_if_changed()
    assert scene.reloads()[0] == 1


@pytest.mark.parametrize("name", ["server.pem", "server.key"])
def test_no_server_starts_without_them(scene: Scene, name: str) -> None:
    """The error names the setting."""
    (scene.folder / name).write_text("rubbish")
    with pytest.raises(ConfigError, match=r"tls\.certificate_file"):
        scene.certificate()


@pytest.mark.parametrize("required, mode", [(True, ssl.CERT_REQUIRED), (False, ssl.CERT_OPTIONAL)])
def test_client_certificates_are_asked_for(scene: Scene, required: bool, mode: ssl.VerifyMode) -> None:
    """Where authorities are named: required of a relay's clients, optional at an issuer, which takes tokens as well."""
    assert scene.certificate().context.verify_mode == ssl.CERT_NONE
    scene.registry = CollectorRegistry()
    assert scene.certificate(client_ca="ca.pem", required=required).context.verify_mode == mode


def test_authorities_that_cannot_be_read_stop_the_start(scene: Scene) -> None:
    """Else each client would be refused."""
    with pytest.raises(ConfigError, match=r"tls\.client_ca_file"):
        scene.certificate(client_ca="nowhere.pem")
