"""Certificate of a relay: loaded when it changes, and kept where the new one cannot be used."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from queueing.errors import ConfigError
from workers.dev.trial_tls import write_authority_and_server
from workers.relay.certificate import ServerCertificate
from workers.relay.settings import TlsSettings
from workers.telemetry.relay_metrics import RelayMetrics


class Scene:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        write_authority_and_server(folder, host="127.0.0.1")
        self.registry = CollectorRegistry()
        self.settings = TlsSettings(
            certificate_file=str(folder / "server.pem"), private_key_file=str(folder / "server.key")
        )

    def certificate(self) -> ServerCertificate:
        return ServerCertificate(self.settings, reloads=RelayMetrics(self.registry).certificate_reloads)

    def reloads(self, result: str) -> float:
        name = "sigmill_relay_certificate_reloads_total"
        return self.registry.get_sample_value(name, {"result": result}) or 0.0


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_files_that_do_not_change_are_not_loaded_again(scene: Scene) -> None:
    """Neither is a certificate that is just being replaced: its file is missing for a moment."""
    made = scene.certificate()
    made.reload_if_changed()
    assert scene.reloads("adopted") == 0


def test_a_renewed_certificate_is_loaded_into_the_same_context(scene: Scene, tmp_path: Path) -> None:
    """The listener has that context; new connections see the new certificate."""
    made = scene.certificate()
    context = made.context
    renewed = tmp_path / "renewed"
    renewed.mkdir()
    write_authority_and_server(renewed, host="127.0.0.1")
    for name in ("server.pem", "server.key"):
        (scene.folder / name).unlink()
        shutil.copy(renewed / name, scene.folder / name)
    made.reload_if_changed()
    assert (scene.reloads("adopted"), scene.reloads("refused")) == (1, 0)
    assert made.context is context


def test_a_key_of_another_certificate_leaves_the_old_one(
    scene: Scene, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Refused once, not again every five seconds."""
    made = scene.certificate()
    other = tmp_path / "other"
    other.mkdir()
    write_authority_and_server(other, host="127.0.0.1")
    (scene.folder / "server.key").unlink()
    shutil.copy(other / "server.key", scene.folder / "server.key")
    with caplog.at_level(logging.ERROR, logger="sigmill.relay"):
        made.reload_if_changed()
        made.reload_if_changed()
    assert scene.reloads("refused") == 1
    assert [record.message for record in caplog.records] == ["relay.certificate_refused"]


@pytest.mark.parametrize("name", ["server.pem", "server.key"])
def test_a_relay_does_not_start_without_them(scene: Scene, name: str) -> None:
    """The error names the setting."""
    (scene.folder / name).write_text("rubbish")
    with pytest.raises(ConfigError, match=r"tls\.certificate_file"):
        scene.certificate()
