"""Signatures beside their files: made once, recognised by a rerun, and never put over another file."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from queueing.artifacts import cms
from queueing.artifacts.batch import Artifact
from queueing.artifacts.cms import Signer
from queueing.artifacts.formats import SUFFIXES, FormatName
from queueing.artifacts.preparation import IfSigned, Order
from queueing.artifacts.targets import Target
from queueing.errors import AlgorithmMismatch
from queueing.protocol.algorithms import Algorithm
from queueing.protocol.public_keys import PublicKey
from tests.support.artifacts.local_signer import LocalSigner
from tests.support.artifacts.runs import sign
from tests.support.keys import spki_of

FORMATS = list(SUFFIXES)


def artifact(file: Path, name: FormatName, out_dir: Path | None = None) -> Artifact:
    target = (
        Target.beside(file, SUFFIXES[name])
        if out_dir is None
        else Target.below(out_dir, Path(file.name), SUFFIXES[name])
    )
    return Artifact(path=file, target=target, format=name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "app.bin"
    made.write_bytes(b"artefact" * 300_000)
    return made


@pytest.fixture(scope="module")
def key() -> LocalSigner:
    return LocalSigner.p256()


@pytest.mark.parametrize("name", FORMATS)
async def test_a_signature_is_made_beside_the_file(key: LocalSigner, file: Path, name: FormatName) -> None:
    """The file stays as it is; a rerun signs nothing; new content is another signature."""
    before = file.read_bytes()
    made = file.with_name(f"app.bin{SUFFIXES[name]}")
    assert (await sign(key, artifact(file, name))).words() == ["signed"]
    assert file.read_bytes() == before
    first = made.read_bytes()
    assert (await sign(key, artifact(file, name))).words() == ["unchanged"]
    assert made.read_bytes() == first
    file.write_bytes(b"new")
    assert (await sign(key, artifact(file, name))).words() == ["artifact.signed"]
    assert made.read_bytes() == first
    replaced = await sign(key, artifact(file, name), if_signed=IfSigned.REPLACE)
    assert replaced.words() == ["signed"]
    assert made.read_bytes() != first


async def test_a_raw_signature_is_of_the_files_digest(key: LocalSigner, file: Path, tmp_path: Path) -> None:
    """As `sigmill sign --out-dir` writes it; also of an empty file."""
    for content in (b"x", b""):
        file.write_bytes(content)
        await sign(key, artifact(file, FormatName.RAW), if_signed=IfSigned.REPLACE)
        raw = (tmp_path / "app.bin.sig").read_bytes()
        key.signer.public_key.verify(key.algorithm, hashlib.sha256(content).digest(), raw)


async def test_cms_has_no_content_and_the_chain_without_its_root(key: LocalSigner, file: Path) -> None:
    """The verifier has the file and the root."""
    await sign(key, artifact(file, FormatName.CMS))
    signed = cms.read_signed_data(file.with_name("app.bin.p7s").read_bytes())
    assert signed.content is None
    assert signed.certificates == key.certificates[:1]
    assert signed.is_by(key.signer, hashlib.sha256(file.read_bytes()).digest())
    assert not signed.is_by(LocalSigner.p256().signer, hashlib.sha256(file.read_bytes()).digest())
    assert not signed.is_by(key.signer, bytes(32))


@pytest.mark.parametrize("name", FORMATS)
async def test_another_file_in_the_place_is_not_replaced_by_accident(
    key: LocalSigner, file: Path, tmp_path: Path, name: FormatName
) -> None:
    """Another file is not replaced unless asked for, a folder never."""
    place = tmp_path / f"app.bin{SUFFIXES[name]}"
    place.write_bytes(b"notes")
    assert (await sign(key, artifact(file, name))).words() == ["artifact.signed"]
    assert place.read_bytes() == b"notes"
    place.unlink()
    place.mkdir()
    refused = await sign(key, artifact(file, name), if_signed=IfSigned.REPLACE)
    assert refused.words() == ["artifact.signed"]


async def test_a_file_that_another_process_writes_meanwhile_gets_no_signature(
    key: LocalSigner, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be of content that is gone."""
    original = key.sign

    def meanwhile(self: LocalSigner, digest: bytes) -> bytes:
        file.write_bytes(b"new")
        return original(digest)

    monkeypatch.setattr(LocalSigner, "sign", meanwhile)
    assert (await sign(key, artifact(file, FormatName.CMS))).words() == ["input.unreadable"]
    assert not file.with_name("app.bin.p7s").exists()


def test_ed25519_signs_no_cms() -> None:
    """It signs messages, and in CMS that is the attributes themselves; raw signatures are possible."""
    with pytest.raises(AlgorithmMismatch, match="whole messages"):
        Signer.of(LocalSigner.p256().certificates, Algorithm.ED25519)
    public = PublicKey.from_spki(spki_of(LocalSigner.p256().key))
    assert Order(signer=Signer.bare(public, Algorithm.ED25519)).signer.hash_name == "sha256"
