"""Files, digests and manifests as items in input order."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
from pathlib import Path

import click
import pytest

from queueing.errors import DigestLength, InputUnreadable
from queueing.protocol.algorithms import Algorithm
from workers.cli.signing.hashing import hashed
from workers.cli.signing.inputs import Inputs
from workers.cli.signing.items import Item, item_of_digest

SHA_256 = hashlib.sha256(b"x").hexdigest()


def feed_stdin(monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    """Bytes that can be read once from stdin."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw)))


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
    Inputs((), (f"sha256:{SHA_256}",), None).check()
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


@pytest.mark.parametrize("end", ["\n", "\r\n"])
async def test_a_manifest_of_another_system_is_read(tmp_path: Path, end: str) -> None:
    """A byte order mark is no part of its first line."""
    manifest = tmp_path / "manifest"
    lines = [f'{{"name": "{name}", "digest": "sha256:{SHA_256}"}}{end}' for name in ("a", "b")]
    manifest.write_bytes(b"\xef\xbb\xbf" + "".join(lines).encode())
    found = [item async for item in Inputs((), (), manifest).read(Algorithm.ECDSA_SHA_256)]
    assert [(item.name, item.error) for item in found] == [("a", None), ("b", None)]


@pytest.mark.parametrize(
    "line", ["[" * 100_000, '{"digest": "a", "x": ' + "[" * 100_000, '{"digest": "\udcff"}']
)
async def test_a_line_that_no_decoder_takes_costs_its_own_item(
    monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """Nested too deeply, or with a byte that is not UTF-8: the next line is read nevertheless."""
    text = f'{line}\n{{"digest": "sha256:{SHA_256}"}}\n'
    feed_stdin(monkeypatch, text.encode("utf-8", "surrogateescape"))
    found = [item async for item in Inputs((), (), Path("-")).read(Algorithm.ECDSA_SHA_256)]
    assert [item.error is None for item in found] == [False, True]


async def test_a_manifest_from_stdin_cannot_be_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """stdin can be read only once, so the number of its items is unknown."""
    feed_stdin(monkeypatch, f'{{"digest": "sha256:{SHA_256}"}}\n'.encode())
    inputs = Inputs((), (), Path("-"))
    assert inputs.count() is None
    assert [item.digest for item in await items(inputs)] == [hashlib.sha256(b"x").digest()]


HOSTILE_LINES = {
    "a byte that is not UTF-8": b'{"name": "a\xff", "digest": "sha256:%s"}' % SHA_256.encode(),
    "a lone surrogate": b'{"name": "a\\ud800", "digest": "sha256:%s"}' % SHA_256.encode(),
    "nested 100,000 deep": b'{"digest": "x", "z": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "name_bytes that is not base64": b'{"digest": "sha256:%s", "name_bytes": "!"}' % SHA_256.encode(),
    "longer than 1 MiB": b"x" * (5 << 20),
    "a SHA-1 sum": b"00" * 20 + b"  file",
    "NUL bytes": b"\x00" * 10,
    "sums ended by NULs": b"%s  one\0%s  two\0" % ((SHA_256.encode(),) * 2),
    "tagged sums ended by NULs": b"SHA256 (one) = %s\0SHA256 (two) = %s" % ((SHA_256.encode(),) * 2),
    "a tagged sum of another length": b"SHA384 (one) = %s" % SHA_256.encode(),
}


@pytest.mark.parametrize("line", HOSTILE_LINES.values(), ids=HOSTILE_LINES.keys())
async def test_one_bad_line_costs_one_item(monkeypatch: pytest.MonkeyPatch, line: bytes) -> None:
    """Every bad line is one item with an error in its place, and the next line is read."""
    good = b'{"name": "good", "digest": "sha256:%s"}' % SHA_256.encode()
    feed_stdin(monkeypatch, line + b"\n" + good + b"\n")
    bad, last = await items(Inputs((), (), Path("-")))
    assert isinstance(bad.error, InputUnreadable)
    assert (bad.name, last.name, last.error) == ("stdin:1", "good", None)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
async def test_a_manifest_in_utf_16_is_a_usage_error(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """As `>` of PowerShell 5 writes it; each line would be an error about something else."""
    feed_stdin(monkeypatch, f"\ufeff{SHA_256}  file\r\n".encode(encoding))
    with pytest.raises(click.UsageError, match="UTF-16"):
        await items(Inputs((), (), Path("-")))


@pytest.mark.parametrize("manifest", ["", "\n \n"])
async def test_an_empty_manifest_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, manifest: str
) -> None:
    """A build whose list came out empty must not pass as signed: from a file and from stdin."""
    file = tmp_path / "manifest"
    file.write_text(manifest)
    with pytest.raises(click.UsageError, match="is empty"):
        Inputs((), (), file).count()
    feed_stdin(monkeypatch, manifest.encode())
    with pytest.raises(click.UsageError, match="is empty"):
        await items(Inputs((), (), Path("-")))


@pytest.mark.parametrize("tool", ["sha256sum", "sha384sum", "sha512sum"])
@pytest.mark.parametrize("mode", ["--text", "--binary", "--tag"])
async def test_checksum_files_are_manifests(tmp_path: Path, tool: str, mode: str) -> None:
    """Output of coreutils, with its marks and escaped names, gives the files' own names and digests."""
    names = [b"plain", b"with two  blanks", b"back\\slash", b"new\nline", b"caf\xe9", b"-dash", b"*star"]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    summed = subprocess.run([tool, mode, "--", *names], cwd=tmp_path, capture_output=True, check=True)
    manifest = tmp_path / "manifest"
    manifest.write_bytes(summed.stdout)
    found = await items(Inputs((), (), manifest))
    assert [os.fsencode(item.name) for item in found] == names
    hash_name = tool.removesuffix("sum")
    assert [item.digest for item in found] == [hashlib.new(hash_name, name).digest() for name in names]


def test_a_name_that_is_not_utf_8_is_kept_whole() -> None:
    """JSON has the name with U+FFFD, and its bytes in base64; a name that is UTF-8 has none."""
    odd, plain = Item(name=os.fsdecode(b"caf\xe9.bin")), Item(name="caf\u00e9 \ufffd")
    assert (odd.shown_name, odd.name_bytes) == ("caf\ufffd.bin", "Y2Fm6S5iaW4=")
    assert (plain.shown_name, plain.name_bytes) == (plain.name, "")


async def test_a_manifest_may_name_files_by_their_bytes(tmp_path: Path) -> None:
    """The lossless form of a name is read as it is written."""
    manifest = tmp_path / "manifest"
    manifest.write_text(
        json.dumps({"name": "caf\ufffd", "name_bytes": "Y2Fm6Q==", "digest": f"sha256:{SHA_256}"})
    )
    (found,) = await items(Inputs((), (), manifest))
    assert os.fsencode(found.name) == b"caf\xe9"


async def test_a_file_that_is_not_regular_is_refused_unless_asked_for(tmp_path: Path) -> None:
    """A pipe without a writer and a device without an end neither block nor run; a folder is named as one."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = [item async for item in hashed([pipe, Path("/dev/zero"), tmp_path, Path("a\0b")], "sha256")]
    assert [type(item.error) for item in found] == [InputUnreadable] * 4
    assert "--any-file" in found[0].error.message  # type: ignore[union-attr]
    assert "it is a folder" in found[2].error.message  # type: ignore[union-attr]
    (null,) = [item async for item in hashed([Path("/dev/null")], "sha256", any_file=True)]
    assert null.digest == hashlib.sha256().digest()


@pytest.mark.parametrize("manifest", ["/dev/zero", "/", "missing"])
def test_a_manifest_is_a_file_or_a_pipe(manifest: str) -> None:
    """Anything else is a usage error: a device has no end, a folder no lines."""
    with pytest.raises(click.UsageError):
        Inputs((), (), Path(manifest)).count()


def test_a_wrong_length_is_told_in_hex_digits() -> None:
    """The command line takes hex, so the message counts hex digits."""
    error = item_of_digest("x", "sha256:abcd").error
    assert isinstance(error, DigestLength)
    assert "64 hex digits" in error.message
    assert "this has 4" in error.message
