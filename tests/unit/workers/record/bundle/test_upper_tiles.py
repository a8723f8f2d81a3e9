"""Tiles of level 2 and above of a bundle: the root does not need them, and they are verified nevertheless."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from queueing.transparency.checkpoints import Checkpoint, sign_checkpoint
from queueing.transparency.merkle import TreeEdge, root_of
from queueing.transparency.notes import Ed25519NoteKey
from queueing.transparency.tiles import WIDTH, tile_path
from tests.support.farm.forged_logs import ORIGIN
from tests.support.farm.sealed_logs import EPOCH_KEY
from workers.record.bundle.findings import Problem
from workers.record.bundle.reader import origins_of
from workers.record.bundle.upper_tiles import upper_problems
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


class RepeatedTiles:
    """Tiles of a tree whose blocks are all the same, but that the last hash of the first tile of level 2 is wrong."""

    name = "0011223344556677"

    def __init__(self) -> None:
        block = bytes(32)
        above = root_of([block] * WIDTH)
        self._hashes = {1: block, 2: above, 3: root_of([above] * WIDTH)}

    def tile(self, level: int, index: int, width: int) -> list[bytes]:
        hashes = [self._hashes[level]] * width
        if (level, index) == (2, 0):
            hashes[-1] = b"x" * 32
        return hashes


def test_each_level_is_held_against_the_one_below() -> None:
    """Of a tree with a full tile of level 2 and one at its right edge, which is right."""
    found = [problem.what for problem in upper_problems(RepeatedTiles(), WIDTH**3 + 2 * WIDTH**2)]
    assert found == [
        "hash 255 of tile/2/000 is not the root of tile/1/255",
        "hash 0 of tile/3/000.p/1 is not the root of tile/2/000",
    ]
