"""Tiles of level 2 and above of a bundle: the root does not need them, and they are verified nevertheless."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from queueing.files.regular_file import read_regular
from queueing.transparency.checkpoints import Checkpoint, sign_checkpoint
from queueing.transparency.merkle import TreeEdge, root_of
from queueing.transparency.notes import Ed25519NoteKey
from queueing.transparency.tiles import HEIGHT, WIDTH, tile_path
from tests.support.farm.forged_logs import ORIGIN
from tests.support.farm.sealed_logs import EPOCH_KEY
from workers.record.bundle import reader as bundle_reader
from workers.record.bundle.findings import Problem
from workers.record.bundle.reader import origins_of
from workers.record.bundle.upper_tiles import UpperTiles
from workers.record.bundle.verification import OriginVerifier

BLOCKS = 2 * WIDTH + 1
SIZE = BLOCKS * WIDTH
TILE = tile_path(2, 0, 2)
KEY = Ed25519NoteKey(ORIGIN, EPOCH_KEY)


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """A bundle with none of the entries of a log of two full tiles of level 1: only the hashes of its blocks."""
    folder = tmp_path / ORIGIN.rpartition("/")[2]
    blocks = [hashlib.sha256(b"%d" % number).digest() for number in range(BLOCKS)]
    edge = TreeEdge()
    edge.extend(blocks)
    above = [root_of(blocks[at : at + WIDTH]) for at in (0, WIDTH)]
    for path, hashes in {
        tile_path(1, 0): blocks[:WIDTH],
        tile_path(1, 1): blocks[WIDTH : 2 * WIDTH],
        tile_path(1, 2, 1): blocks[2 * WIDTH :],
        TILE: above,
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"".join(hashes))
    (folder / "origin").write_text(f"{ORIGIN}\n")
    (folder / "range").write_text(f"{SIZE} {SIZE}\n")
    (folder / "checkpoint").write_bytes(sign_checkpoint(Checkpoint(ORIGIN, SIZE, edge.root()), KEY))
    return folder


def problems(origin: Path) -> list[Problem]:
    (reader,) = origins_of(origin.parent)
    return list(OriginVerifier(reader, trusted=[KEY.verifier]).run())


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[40] ^= 1
    file.write_bytes(data)


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def link(file: Path) -> None:
    file.rename(file.parent / "moved")
    file.symlink_to("moved")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "flipped": flip,
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "missing": Path.unlink,
    "too long": lambda file: file.write_bytes(file.read_bytes() + b"."),
    "a folder": make_folder,
    "a link": link,
}


def test_a_log_with_an_upper_tile_holds(origin: Path) -> None:
    assert problems(origin) == []


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_upper_tile_is_named(origin: Path, damage: Callable[[Path], object]) -> None:
    damage(origin / TILE)
    (problem,) = problems(origin)
    assert (problem.code, problem.place) == ("tree.tile", origin.name)
    assert TILE in problem.what


def test_each_tile_is_read_once(origin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a log of a billion entries the tiles of level 1 are most of what a short range has."""
    opened: Counter[str] = Counter()

    def counted(file: Path, *, largest_bytes: int) -> bytes:
        opened[str(file.relative_to(origin))] += 1
        return read_regular(file, largest_bytes=largest_bytes)

    monkeypatch.setattr(bundle_reader, "read_regular", counted)
    assert problems(origin) == []
    assert {tile_path(1, 0), tile_path(1, 1), TILE} <= opened.keys()
    assert set(opened.values()) == {1}


BLOCK, ABOVE = bytes(32), root_of([bytes(32)] * WIDTH)


class RepeatedTiles:
    """Tiles of a tree whose blocks are all the same, but for two wrong hashes in the first tile of level 2, and that of level 3."""

    name = "0011223344556677"
    _hashes: Final = {1: BLOCK, 2: ABOVE, 3: b"y" * 32}

    def tile(self, level: int, index: int, width: int) -> list[bytes]:
        hashes = [self._hashes[level]] * width
        if (level, index) == (2, 0):
            hashes[-2:] = [b"x" * 32] * 2
        return hashes


def test_each_level_is_held_against_the_tree_and_a_tile_is_told_once() -> None:
    """Of a tree with a full tile of level 2, which has two wrong hashes, and one at its right edge, which is right."""
    blocks = WIDTH**2 + 2 * WIDTH
    upper = UpperTiles(RepeatedTiles(), blocks * WIDTH)
    edge, found = TreeEdge(), list[str]()
    for number in range(1, blocks + 1):
        completed = edge.append(BLOCK)
        found += [problem.what for problem in upper.problems(number * WIDTH, completed, HEIGHT)]
    assert found == [
        "hash 254 of tile/2/000 is not the root of tile/1/254",
        "hash 0 of tile/3/000.p/1 is not the root of tile/2/000",
    ]
