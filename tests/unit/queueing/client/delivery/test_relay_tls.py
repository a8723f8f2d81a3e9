"""TLS files of a client towards a relay: changes are used, mistakes are named, and half a change is waited for."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from queueing.client.delivery import relay_tls
from queueing.client.delivery.relay_tls import CHECK_S, RelayTls, RelayTlsFiles
from queueing.errors import ConfigError
from tests.support.issuer.authority import Root

MESH = Root("mesh")


class Files:
    """The client's files in a folder, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now_s = 100.0
        (folder / "ca.pem").write_bytes(MESH.certificate.public_bytes(Encoding.PEM))
        MESH.issue_to(folder / "own", x509.DNSName("build.example"))
        self.files = RelayTlsFiles(
            authorities=str(folder / "ca.pem"),
            certificate=str(folder / "own.pem"),
            private_key=str(folder / "own.key"),
        )
        self.tls = RelayTls(self.files)

    def replace(self, name: str, content: bytes) -> None:
        draft = self.folder / "draft"
        draft.write_bytes(content)
        draft.replace(self.folder / name)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    made = Files(tmp_path)
    made.tls._looked_s = made.now_s
    monkeypatch.setattr(relay_tls, "monotonic", lambda: made.now_s)
    return made


def test_files_that_do_not_change_are_read_once(files: Files) -> None:
    first = files.tls.current()
    files.now_s += 10 * CHECK_S
    assert files.tls.current() is first


def test_a_renewed_certificate_is_used_with_its_key_only(files: Files) -> None:
    """Not between the replacement of the one and the other."""
    first = files.tls.current()
    (files.folder / "new").mkdir()
    MESH.issue_to(files.folder / "new" / "own", x509.DNSName("build.example"))
    files.replace("own.pem", (files.folder / "new" / "own.pem").read_bytes())
    assert files.tls.current() is first
    files.now_s += CHECK_S
    assert files.tls.current() is first
    files.replace("own.key", (files.folder / "new" / "own.key").read_bytes())
    files.now_s += CHECK_S
    assert files.tls.current() is not first


def test_new_authorities_are_used(files: Files) -> None:
    first = files.tls.current()
    files.replace("ca.pem", Root("other").certificate.public_bytes(Encoding.PEM))
    files.now_s += CHECK_S
    assert files.tls.current() is not first


def test_files_that_go_away_leave_the_former_ones_in_use(files: Files) -> None:
    """They may be about to be replaced."""
    first = files.tls.current()
    (files.folder / "own.pem").unlink()
    files.now_s += CHECK_S
    assert files.tls.current() is first


@pytest.mark.parametrize(
    "name, content, key",
    [
        ("ca.pem", b"rubbish", "ca_file"),
        ("own.pem", b"rubbish", "cert_file"),
        ("own.key", b"rubbish", "cert_file"),
        ("own.key", None, "cert_file"),
    ],
)
def test_files_that_cannot_be_used_at_the_start_are_named(
    files: Files, name: str, content: bytes | None, key: str
) -> None:
    if content is None:
        (files.folder / name).unlink()
    else:
        files.replace(name, content)
    with pytest.raises(ConfigError) as caught:
        RelayTls(files.files)
    assert caught.value.key == key
