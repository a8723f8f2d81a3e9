"""`sigmill sign-file` as a build calls it, against a responder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from queueing.errors import PolicyDenied
from tests.support.artifacts.pe_files import pe_file
from tests.support.certificates import issue, pem
from tests.support.disk.disks import fill, remount, small_disk
from tests.support.farm.farm import Farm
from tests.support.sigmill_cli import Ran, run_sigmill, with_defaults


@pytest.fixture
def chain(farm: Farm) -> Path:
    """A certificate of the key ``release``, with its issuer's."""
    key = farm.responder.keys["release"].versions[1]
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    authority = ec.generate_private_key(ec.SECP256R1())
    file = farm.folder / "release.pem"
    file.write_bytes(pem(issue(authority, key, "release")) + pem(issue(None, authority, "CA")))
    return file


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "dist"
    folder.mkdir()
    made = [folder / f"{i}.exe" for i in range(3)]
    for file in made:
        file.write_bytes(pe_file(overlay=file.name.encode()))
    return made


async def sign_file(farm: Farm, chain: Path, *words: str | Path) -> Ran:
    options: dict[str, str | Path] = {
        "--config": farm.client_toml(),
        "--key": "release",
        "--certificate": chain,
    }
    return await run_sigmill("sign-file", *with_defaults(options, *words))


async def test_files_are_signed_and_a_rerun_signs_the_rest(
    farm: Farm, chain: Path, files: list[Path]
) -> None:
    """A line for each in input order; the bad one is an error and fails the run, the others are signed."""
    before = files[1].read_bytes()
    files[1].write_bytes(before[:0x300])
    ran = await sign_file(farm, chain, "--json", *files)
    assert ran.code == 1, ran.err
    assert [line["outcome"] for line in ran.json()] == ["signed", "failed", "signed"]
    assert ran.json()[1]["error"]["code"] == "artifact.invalid"
    assert {(line["format"], line["key"], line["algorithm"]) for line in ran.json()} == {
        ("pe", "release/1", "ECDSA_SHA_256")
    }
    assert "2 of 3 files signed in " in ran.err
    files[1].write_bytes(before)
    ran = await sign_file(farm, chain, *files)
    assert ran.code == 0, ran.err
    assert [line.split()[0] for line in ran.out.splitlines()] == ["unchanged", "signed", "unchanged"]
    assert sum(farm.responder.signed.values()) == 3


async def test_a_killed_run_collects_its_signatures_by_the_request_id(
    farm: Farm, chain: Path, files: list[Path]
) -> None:
    """Files as a killed run leaves them ask for the same digests: none is signed twice."""
    before = [file.read_bytes() for file in files]
    ran = await sign_file(farm, chain, "--request-id", "build-1", *files)
    assert ran.code == 0, ran.err
    signed = [file.read_bytes() for file in files]
    for file, raw in zip(files, before, strict=True):
        file.write_bytes(raw)
    ran = await sign_file(farm, chain, "--request-id", "build-1", *files)
    assert ran.code == 0, ran.err
    assert [file.read_bytes() for file in files] == signed
    assert set(farm.responder.signed.values()) == {1}


async def test_odd_names_and_another_folder(farm: Farm, chain: Path, files: list[Path]) -> None:
    """A name that is no UTF-8 is whole in ``name_bytes``; a file that is given twice is signed once."""
    odd = Path(os.fsdecode(os.fsencode(files[0].parent) + b"/\xff\n'.exe"))
    odd.write_bytes(pe_file())
    out = files[0].parent.parent / "out"
    ran = await sign_file(farm, chain, "--json", "--out-dir", out, odd, files[0], files[0])
    assert ran.code == 1, ran.err
    assert [line["outcome"] for line in ran.json()] == ["signed", "signed", "failed"]
    assert "name_bytes" in ran.json()[0]
    assert ran.json()[1]["output"] == str(out / str(files[0]).lstrip("/"))
    assert len(list(out.rglob("*.exe"))) == 2


async def test_a_denial_ends_with_77(farm: Farm, chain: Path, files: list[Path]) -> None:
    """A denial ends with 77 and its reason, and the file is unchanged."""
    before = files[0].read_bytes()
    farm.responder.refuse_next = PolicyDenied("outside its hours")
    ran = await sign_file(farm, chain, files[0])
    assert ran.code == 77
    assert "outside its hours [policy.denied]" in ran.err
    assert files[0].read_bytes() == before


@pytest.mark.parametrize(
    "words, code, told",
    [
        (("--replace", "--append"), 2, "[usage]"),
        (("--append", "--format", "cms"), 2, "[usage]"),
        (("--url", "https://exämple.com"), 2, "[usage]"),
        (("--format", "zip"), 2, "[usage]"),
        (("--certificate", "missing.pem"), 2, "[config.invalid]"),
        (("--key", "releese"), 77, "[key.unknown]"),
        (("--key", "release/7"), 77, "[key.disabled]"),
        (("--algorithm", "ECDSA"), 1, "[algorithm.unknown]"),
    ],
)
async def test_a_wrong_option_is_told_before_anything_is_signed(
    farm: Farm, chain: Path, files: list[Path], words: tuple[str, ...], code: int, told: str
) -> None:
    """A wrong option ends with its code and exit code, and no digest is signed."""
    ran = await sign_file(farm, chain, *words, files[0])
    assert (ran.code, told in ran.err) == (code, True), ran.err
    assert not farm.responder.signed


async def test_a_key_without_certificate_is_a_mistake_of_the_configuration(
    farm: Farm, files: list[Path]
) -> None:
    """The remedy names the operator's command and the option; so for a certificate of another key."""
    config = str(farm.client_toml())
    ran = await run_sigmill("sign-file", "--config", config, "--key", "release", files[0])
    assert ran.code == 2
    assert "attach-certificate" in ran.err
    other = farm.folder / "other.pem"
    key = ec.generate_private_key(ec.SECP256R1())
    other.write_bytes(pem(issue(None, key, "other")))
    ran = await sign_file(farm, other, files[0])
    assert ran.code == 2
    assert "another public key" in ran.err


async def test_signatures_beside_the_files(farm: Farm, chain: Path, files: list[Path]) -> None:
    """For the formats that are chosen; a raw one needs no certificate."""
    files[0].write_bytes(b"any content")
    ran = await sign_file(farm, chain, "--format", "cms", "--json", files[0])
    assert ran.code == 0, ran.err
    assert ran.json()[0]["output"] == f"{files[0]}.p7s"
    config = str(farm.client_toml())
    out = farm.folder / "out"
    words = ("--key", "release", "--format", "raw", "--out-dir", out, "--json", files[0])
    ran = await run_sigmill("sign-file", "--config", config, *words)
    assert ran.code == 0, ran.err
    assert Path(ran.json()[0]["output"]).suffixes == [".exe", ".sig"]
    assert [x.name for x in out.rglob("*.sig")] == ["0.exe.sig"]


async def test_a_disk_that_is_full_or_read_only_costs_what_does_not_fit(
    farm: Farm, chain: Path, tmp_path: Path
) -> None:
    """In place, on a disk of its own: the file that does not fit is as it was, the others are signed, and no part is left."""
    disk = tmp_path / "disk"
    with small_disk(disk, 2 << 20):
        large, *small = (disk / name for name in ("0.exe", "1.exe", "2.exe"))
        large.write_bytes(pe_file(overlay=bytes(600_000)))
        for file in small:
            file.write_bytes(pe_file(overlay=file.name.encode()))
        before = large.read_bytes()
        filler = fill(disk)
        os.truncate(filler, filler.stat().st_size - (256 << 10))
        ran = await sign_file(farm, chain, "--json", large, *small)
        assert ran.code == 1, ran.err
        assert [line["outcome"] for line in ran.json()] == ["failed", "signed", "signed"]
        error = ran.json()[0]["error"]
        assert error["code"] == "output.unwritable"
        assert "No space left" in error["message"]
        assert large.read_bytes() == before
        assert sorted(disk.iterdir()) == [large, *small, filler]
        signed = sum(farm.responder.signed.values())
        remount(disk, "ro")
        ran = await sign_file(farm, chain, large, small[0])
        remount(disk, "rw")
        assert ran.code == 1, ran.err
        assert "Read-only file system [output.unwritable]" in ran.err
        assert ran.out.split()[0] == "unchanged"
        assert sum(farm.responder.signed.values()) == signed  # noticed before anything is signed for it
