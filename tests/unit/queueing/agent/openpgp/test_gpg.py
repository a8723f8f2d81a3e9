"""`sigmill-gpg` finds the meant certificate, and imports little."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from queueing.agent.openpgp.armor import armored
from queueing.agent.openpgp.gpg import Certificate, main
from queueing.agent.openpgp.packets import PUBLIC_KEY, USER_ID, packet, rsa_key

KEY = rsa_key(5, b"\xff" * 256, b"\x01\x00\x01")
CERTIFICATE = Certificate("release", KEY, ["Example Releases <release@example.com>"])
FINGERPRINT = KEY.fingerprint.hex().upper()
HEAVY = ("asyncio", "click", "cryptography", "msgspec", "redis", "queueing.client", "workers")


@pytest.mark.parametrize(
    "user, meant",
    [
        ("release", True),
        (FINGERPRINT, True),
        (FINGERPRINT.lower(), True),
        (f"0x{FINGERPRINT[-16:]}!", True),
        ("<release@example.com>", True),
        ("Example Releases", True),
        (f"0X{FINGERPRINT[-16:].lower()}", True),
        (" ".join(FINGERPRINT[i : i + 4] for i in range(0, 40, 4)), True),
        (FINGERPRINT[-6:], False),
        (FINGERPRINT[-8:], False),
        (f"0x{FINGERPRINT[-8:]}!", False),
        (FINGERPRINT[-15:], False),
        (FINGERPRINT[-17:], False),
        (FINGERPRINT[:-1], False),
        (f"0{FINGERPRINT}", False),
        ("nightly", False),
        ("", False),
        (" ", False),
    ],
)
def test_a_user_is_a_key_by_name_id_or_owner(user: str, meant: bool) -> None:
    """As programs and people name keys for gpg; other ends of a fingerprint than a whole key ID name none."""
    assert CERTIFICATE.is_meant_by(user) is meant


def test_without_sigmill_run_the_program_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, as gpg's, and a sentence."""
    monkeypatch.delenv("SIGMILL_PGP_FOLDER", raising=False)
    monkeypatch.setattr(sys, "argv", ["sigmill-gpg", "-b", "f"])
    assert main() == 2
    assert "sigmill run --pgp" in capsys.readouterr().err


def test_a_certificate_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No traceback for a file that is something else."""
    (tmp_path / "release.asc").write_text("notes")
    monkeypatch.setenv("SIGMILL_PGP_FOLDER", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["sigmill-gpg", "-b", "f"])
    assert main() == 2
    assert "PUBLIC KEY BLOCK" in capsys.readouterr().err


@pytest.mark.parametrize("digits", [8, 15, 17, 39])
def test_a_short_key_id_is_refused_with_the_fingerprint(
    digits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another key with the same end can be made; nothing is signed by it."""
    text = armored("PUBLIC KEY BLOCK", packet(PUBLIC_KEY, KEY.body) + packet(USER_ID, b"Releases"))
    (tmp_path / "release.asc").write_bytes(text)
    monkeypatch.setenv("SIGMILL_PGP_FOLDER", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["sigmill-gpg", "-b", "--local-user", f"0x{FINGERPRINT[-digits:]}", "f"])
    assert main() == 2
    assert capsys.readouterr().err == (
        f"sigmill-gpg: 0x{FINGERPRINT[-digits:]} is no whole key ID, and keys with the same end can be made:"
        f" give all 16 digits, or the fingerprint ({FINGERPRINT})\n"
    )


@pytest.mark.parametrize(
    "arguments", [["-b", "f"], ["-bo", "f.sig", "f"], ["--clearsign", "--output", "f.sig", "f"]]
)
@pytest.mark.parametrize("batch", [[], ["--batch"]], ids=["asked", "batch"])
def test_an_existing_output_stays_without_yes(
    arguments: list[str],
    batch: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As gpg has it without a terminal; nothing is signed, and no certificate is looked for."""
    (tmp_path / "f.sig").write_bytes(b"old")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIGMILL_PGP_FOLDER", raising=False)
    monkeypatch.setattr(sys, "argv", ["sigmill-gpg", *batch, *arguments])
    assert main() == 2
    assert capsys.readouterr().err == "sigmill-gpg: f.sig exists: give --yes to replace it\n"
    assert (tmp_path / "f.sig").read_bytes() == b"old"
    sys.argv.insert(1, "--yes")
    assert main() == 2
    assert "SIGMILL_PGP_FOLDER" in capsys.readouterr().err


def test_little_is_imported() -> None:
    """It starts for each file that is signed: a heavy import would cost more than the signature."""
    code = "import sys, queueing.agent.openpgp.gpg; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(done.stdout.split())
