"""`sigmill-gpg` finds the meant certificate, and imports little."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import pytest

from queueing.agent.cryptoki import Attribute, Mechanism
from queueing.agent.openpgp.armor import armored
from queueing.agent.openpgp.gpg import Certificate, _hash_name, main
from queueing.agent.openpgp.gpg_options import read_options
from queueing.agent.openpgp.packets import (
    CURVE_HASHES,
    HASHES,
    PUBLIC_KEY,
    USER_ID,
    PrimaryKey,
    ecdsa_key,
    packet,
    rsa_key,
)

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
        ("example releases", True),
        ("<Release@EXAMPLE.com>", True),
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
    assert (CERTIFICATE.is_named(user) or CERTIFICATE.is_owned_by(user)) is meant


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


def folder_of(folder: Path, **certificates: tuple[PrimaryKey, bytes]) -> Path:
    """A folder of `sigmill run --pgp` with these keys and user IDs."""
    for name, (key, user_id) in certificates.items():
        text = armored("PUBLIC KEY BLOCK", packet(PUBLIC_KEY, key.body) + packet(USER_ID, user_id))
        (folder / f"{name}.asc").write_bytes(text)
    return folder


def test_a_keys_name_is_that_key_also_where_others_have_it_in_their_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The name is chosen: the next step fails, which needs an agent. A part of both owners is told as before."""
    other = rsa_key(6, b"\xff" * 256, b"\x01\x00\x01")
    made = folder_of(
        tmp_path, release=(KEY, b"Releases <release@x>"), nightly=(other, b"Nightly <prerelease@x>")
    )
    monkeypatch.setenv("SIGMILL_PGP_FOLDER", str(made))
    monkeypatch.delenv("P11_KIT_SERVER_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").write_bytes(b"content")
    told = []
    for user in ("release", FINGERPRINT, "release@x"):
        monkeypatch.setattr(sys, "argv", ["sigmill-gpg", "-b", "-u", user, "f"])
        assert main() == 2
        told.append(capsys.readouterr().err)
    assert "P11_KIT_SERVER_ADDRESS" in told[0]
    assert told[1] == told[0]
    assert "2 certificates are meant by release@x" in told[2]


@pytest.mark.parametrize(
    "text, why",
    [(b"a\0\n", "NUL byte"), (b"x" * 19_994, "line of more than 19993 bytes")],
    ids=["nul", "long line"],
)
def test_what_verifiers_would_disagree_about_is_not_clear_signed(
    text: bytes,
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """gpgv finds a bad signature in it. Nothing is asked of an agent, and nothing is written."""
    monkeypatch.setenv("SIGMILL_PGP_FOLDER", str(folder_of(tmp_path, release=(KEY, b"Releases"))))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").write_bytes(text)
    monkeypatch.setattr(sys, "argv", ["sigmill-gpg", "--clearsign", "f"])
    assert main() == 2
    told = capsys.readouterr().err
    assert told.startswith(f"sigmill-gpg: f has a {why}")
    assert "--detach-sign" in told
    assert not (tmp_path / "f.asc").exists()


class SigningToken:
    """A token whose signatures are zeros (``queueing.agent.token_client.TokenClient``)."""

    @classmethod
    def from_environment(cls) -> Self:
        return cls()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def find(self, template: Mapping[Attribute, int | bytes]) -> list[int]:
        return [1] if template else []

    def sign(self, handle: int, mechanism: Mechanism, data: bytes) -> bytes:
        assert (handle, mechanism, len(data)) == (1, Mechanism.RSA_PKCS, 51)
        return bytes(256)


@pytest.fixture
def signing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a build with a file ``f``, where `sigmill-gpg` finds a key and a token that signs."""
    certificates = tmp_path / "pgp"
    certificates.mkdir()
    monkeypatch.setattr("queueing.agent.openpgp.gpg.TokenClient", SigningToken)
    monkeypatch.setenv("SIGMILL_PGP_FOLDER", str(folder_of(certificates, release=(KEY, b"Releases"))))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").write_bytes(b"content\n")
    return tmp_path


@pytest.mark.parametrize("mode, kind", [("-b", "D 1 8 00"), ("--clearsign", "C 1 8 01")])
@pytest.mark.parametrize("target", ["--status-fd=2", "--status-file=st"], ids=["descriptor", "file"])
def test_the_status_says_that_a_signature_was_made(
    mode: str,
    kind: str,
    target: str,
    signing: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Behind another line, as gpg's: git before 2.39.3 looks for the end of that one. A file has nothing else afterwards."""
    (signing / "st").write_text("a former status, which was longer than this one\n" * 9)
    monkeypatch.setattr(sys, "argv", ["sigmill-gpg", target, mode, "f"])
    assert main() == 0
    told = capfd.readouterr().err
    if "file" in target:
        assert told == ""
        told = (signing / "st").read_text()
    begun, made = told.splitlines()
    assert begun == "[GNUPG:] BEGIN_SIGNING H8"
    assert re.fullmatch(rf"\[GNUPG:\] SIG_CREATED {kind} \d+ {FINGERPRINT}", made)


def no_signature(*_: object) -> bytes:
    raise AssertionError("a signature was asked for")


@pytest.mark.parametrize(
    "target, why",
    [
        ("--status-file=no/st", "no/st: No such file or directory"),
        ("--status-fd=987654321", "--status-fd 987654321: Bad file descriptor"),
    ],
    ids=["file", "descriptor"],
)
def test_without_a_place_for_the_status_nothing_is_signed(
    target: str,
    why: str,
    signing: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As gpg has it; before, the signature was made, and the program that waits for its line would make another one."""
    monkeypatch.setattr(SigningToken, "sign", no_signature)
    monkeypatch.setattr(sys, "argv", ["sigmill-gpg", target, "-b", "f"])
    assert main() == 2
    assert capsys.readouterr().err == f"sigmill-gpg: {why}\n"
    assert not (signing / "f.sig").exists()


@pytest.mark.parametrize(
    "words", [["-nb"], ["--dry-run", "--clearsign"], ["-n", "-b", "-o", "-"]], ids=" ".join
)
def test_a_dry_run_signs_and_writes_nothing(
    words: list[str], signing: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not even over an existing file, which is no error then. No status line claims a signature."""
    monkeypatch.setattr(SigningToken, "sign", no_signature)
    for name in ("f.sig", "f.asc"):
        (signing / name).write_bytes(b"old")
    monkeypatch.setattr(sys, "argv", ["sigmill-gpg", "--status-fd=2", *words, "f"])
    assert main() == 0
    assert capfd.readouterr() == ("", "[GNUPG:] BEGIN_SIGNING H8\n")
    assert [(signing / name).read_bytes() for name in ("f.sig", "f.asc")] == [b"old", b"old"]


def test_a_dry_run_fails_where_the_signature_would(
    signing: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says whether the file, the key and the agent are there."""
    told = []
    for words in (["missing"], ["-u", "nobody", "f"]):
        monkeypatch.setattr(sys, "argv", ["sigmill-gpg", "-n", "-b", *words])
        assert main() == 2
        told.append(capsys.readouterr().err)
    monkeypatch.setattr(SigningToken, "find", lambda *_: [])
    sys.argv[3:] = ["f"]
    assert main() == 2
    told.append(capsys.readouterr().err)
    whys = ("missing: No such file", "meant by nobody", "no active key")
    assert [said for why, said in zip(whys, told, strict=True) if why not in said] == []
    assert not list(signing.glob("*.sig"))


def test_a_status_file_is_read_by_the_group_and_nobody_else(
    signing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the mode of gpg's own."""
    monkeypatch.setattr(sys, "argv", ["sigmill-gpg", "--status-file=st", "-b", "f"])
    before = os.umask(0)
    try:
        assert main() == 0
    finally:
        os.umask(before)
    assert (signing / "st").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("log", ["--log-file=log", "--logger-fd=2", "--log-file=-"])
@pytest.mark.parametrize(
    "failing, why",
    [
        (["-b", "-u", "\udcff", "f"], b"are meant by \xff"),
        (["-b", "missing"], b"missing: No such file or directory"),
    ],
    ids=["a name that is no text", "an error of the file system"],
)
def test_each_message_comes_to_the_log(
    log: str,
    failing: list[str],
    why: bytes,
    signing: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    """The bytes of a name are those of the command line; '-' is stderr, which shows others than text in its own way."""
    monkeypatch.setattr(sys, "argv", ["sigmill-gpg", log, *failing])
    assert main() == 2
    told = (signing / "log").read_bytes() if log == "--log-file=log" else capfdbinary.readouterr().err
    assert why.rstrip(b"\xff") in told
    assert (b"\xff" in why) == (b"\xff" in told) or log == "--log-file=-"
    assert not (signing / "-").exists()


def test_messages_are_appended_to_the_log_that_was_asked_for(
    signing: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With their time, as gpg's; a descriptor gets them as stderr does, and so does stderr where no log can be written."""
    failing = ["-b", "-u", "nobody", "f"]
    sentence = "0 certificates are meant by nobody"
    for words in (
        ["--logger-file", "log"],
        ["--log-file=log"],
        ["--logger-fd", "1"],
        ["--log-file", "no/log"],
    ):
        monkeypatch.setattr(sys, "argv", ["sigmill-gpg", *words, *failing])
        assert main() == 2
    first, second = (signing / "log").read_text().splitlines()
    for line in (first, second):
        assert re.match(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d sigmill-gpg\[{os.getpid()}\] {sentence}", line)
    out, err = capfd.readouterr()
    assert out.startswith(f"sigmill-gpg: {sentence}")
    assert (out.count("\n"), err) == (1, out)


@pytest.mark.parametrize(
    "words, number",
    [
        (["--digest-algo=SHA512"], "10"),
        (["--digest-algo", "h9"], "9"),
        (["--personal-digest-preferences", "SHA1 SHA384 SHA256"], "9"),
        (["--personal-digest-preferences", "SHA1"], "8"),
        ([], "8"),
    ],
    ids=["name", "number", "preferred", "none of the preferred", "default"],
)
def test_the_hash_is_the_one_that_was_asked_for(words: list[str], number: str) -> None:
    """Preferences are wishes: one that cannot be had is not an error, as in gpg."""
    assert str(HASHES[_hash_name(KEY, read_options([*words, "-b", "f"]))]) == number


@pytest.mark.parametrize("algorithm", ["SHA1", "MD5", "invented", ""])
def test_a_hash_that_the_key_does_not_sign_is_refused(
    algorithm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2 and a sentence; before, SHA-256 was taken without a word. A curve has one hash."""
    monkeypatch.setenv("SIGMILL_PGP_FOLDER", str(folder_of(tmp_path, release=(KEY, b"Releases"))))
    monkeypatch.setattr(sys, "argv", ["sigmill-gpg", f"--digest-algo={algorithm}", "-b", "f"])
    assert main() == 2
    assert "this key signs sha256, sha384 and sha512 only" in capsys.readouterr().err
    curve = ecdsa_key(5, next(iter(CURVE_HASHES)), bytes(65))
    with pytest.raises(Exception, match="hashes of sha256 only"):
        _hash_name(curve, read_options(["--digest-algo=sha512", "-b", "f"]))


def test_an_option_that_cannot_be_obeyed_is_an_error_of_gpgs_form(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The option, why, and what to do; nothing is signed or written."""
    monkeypatch.setattr(sys, "argv", ["sigmill-gpg", "--sig-notation", "a@b=c", "-b", "f"])
    assert main() == 2
    assert capsys.readouterr().err == (
        "sigmill-gpg: --sig-notation cannot be obeyed: signatures that sigmill-gpg makes have no notations."
        " Nothing was signed; leave the option out\n"
    )


def program(file: Path, text: str) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)


def test_gpg_is_found_behind_what_has_its_name_and_is_this_program(tmp_path: Path) -> None:
    """A link, and a script that runs this program: a tool that calls gpg by its name is led here by either."""
    own = tmp_path / "own/sigmill-gpg"
    code = "import sys, queueing.agent.openpgp.gpg as g; sys.argv[0] = sys.argv.pop(1); sys.exit(g.main())"
    program(own, f'exec {sys.executable} -c "{code}" {own} "$@"')
    (tmp_path / "link").mkdir()
    (tmp_path / "link/gpg").symlink_to(own)
    program(tmp_path / "script/gpg", f'exec {own} "$@"')
    program(tmp_path / "real/gpg", 'echo real "$@"')
    ran = [
        subprocess.run(
            [own, "--version"],
            env={"PATH": os.pathsep.join(str(tmp_path / name) for name in names)},
            cwd=Path(__file__).parents[5],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        for names in (("link", "script", "real"), ("link", "script"))
    ]
    assert [(done.returncode, done.stdout) for done in ran] == [(0, "real --version\n"), (2, "")]
    assert "which is not installed" in ran[1].stderr


def test_little_is_imported() -> None:
    """It starts for each file that is signed: a heavy import would cost more than the signature."""
    code = "import sys, queueing.agent.openpgp.gpg; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(done.stdout.split())
