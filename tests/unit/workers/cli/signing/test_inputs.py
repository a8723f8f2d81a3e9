"""Files, digests and manifests as items in input order."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import click
import pytest

from queueing.errors import DigestLength, InputUnreadable
from queueing.protocol.algorithms import Algorithm
from workers.cli.signing.inputs import Inputs, Item, hashed

SHA_256 = hashlib.sha256(b"x").hexdigest()


async def items(inputs: Inputs, algorithm: Algorithm = Algorithm.ECDSA_SHA_256) -> list[Item]:
    """All items of the inputs."""
    return [item async for item in inputs.read(algorithm)]


@pytest.mark.parametrize(
    "inputs",
    [
        Inputs((), (), None),
        Inputs((Path("a"),), (f"sha256:{SHA_256}",), None),
        Inputs((), (f"sha256:{SHA_256}",), Path("manifest")),
        Inputs((), ("md5:00",), None),
        Inputs((), ("sha256:xyz",), None),
    ],
)
def test_exactly_one_kind_of_input_is_accepted(inputs: Inputs) -> None:
    """None, two kinds, an unknown hash or digits that are not hex are usage errors."""
    with pytest.raises(click.UsageError):
        inputs.check()


async def test_files_are_hashed_in_order(tmp_path: Path) -> None:
    """More files than are hashed ahead keep their order; an unreadable one keeps its place."""
    files = [tmp_path / f"{number:03d}" for number in range(600)]
    for file in files:
        file.write_text(file.name)
    files[300].unlink()
    found = [item async for item in hashed(files, "sha256")]
    assert [item.name for item in found] == [str(file) for file in files]
    assert isinstance(found[300].error, InputUnreadable)
    assert [item.digest for item in found if item.error is None] == [
        hashlib.sha256(file.name.encode()).digest() for file in files if file != files[300]
    ]


async def test_the_algorithm_chooses_the_hash(tmp_path: Path) -> None:
    """Files are hashed with the algorithm's own hash, for Ed25519 with SHA-256."""
    file = tmp_path / "x"
    file.write_bytes(b"x")
    inputs = Inputs((file,), (), None)
    (sha_384,) = await items(inputs, Algorithm.ECDSA_SHA_384)
    (ed25519,) = await items(inputs, Algorithm.ED25519)
    assert sha_384.digest_text == f"sha384:{hashlib.sha384(b'x').hexdigest()}"
    assert ed25519.digest_text == f"sha256:{SHA_256}"


async def test_a_manifest_keeps_the_place_of_bad_lines(tmp_path: Path) -> None:
    """Each line is an item: named, without a name, of the wrong length, or not JSON. Empty lines are none."""
    manifest = tmp_path / "manifest"
    manifest.write_text(
        f'{{"name": "a", "digest": "sha256:{SHA_256}"}}\n\n{{"digest": "SHA-256:{SHA_256}"}}\n'
        '{"name": "short", "digest": "sha256:00"}\nnot json\n'
    )
    inputs = Inputs((), (), manifest)
    found = await items(inputs)
    assert inputs.count() == len(found) == 4
    assert [item.name for item in found] == ["a", f"SHA-256:{SHA_256}", "short", f"{manifest}:5"]
    assert found[0].digest == found[1].digest == hashlib.sha256(b"x").digest()
    assert isinstance(found[2].error, DigestLength)
    assert isinstance(found[3].error, InputUnreadable)


async def test_a_manifest_from_stdin_cannot_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """stdin can be read only once, so the number of its items is unknown."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f'{{"digest": "sha256:{SHA_256}"}}\n'))
    inputs = Inputs((), (), Path("-"))
    assert inputs.count() is None
    assert [item.digest for item in await items(inputs)] == [hashlib.sha256(b"x").digest()]
