"""Tiles and bundles have the paths and bytes of C2SP's tlog-tiles, and proofs can be built from them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.errors import ProofInvalid
from queueing.transparency.merkle import TreeEdge, leaf_hash
from queueing.transparency.proofs import (
    consistency_proof,
    inclusion_proof,
    verify_consistency,
    verify_inclusion,
)
from queueing.transparency.tiles import (
    TileHashes,
    bundle_path,
    decode_bundle,
    encode_bundle,
    index_path,
    split_tile,
    tile_path,
    tiles_of,
)


def test_paths_are_those_of_the_specification() -> None:
    assert index_path(1234067) == "x001/x234/067"
    assert tile_path(0, 273, 112) == "tile/0/273.p/112"
    assert bundle_path(0) == "tile/entries/000"


def test_a_tree_of_70000_entries_has_the_tiles_of_the_specification() -> None:
    tiles = list(tiles_of(70_000))
    assert tiles.count((0, 273, 112)) == 1
    assert [tile for tile in tiles if tile[0] == 0 and tile[2] == 256] == [
        (0, index, 256) for index in range(273)
    ]
    assert [tile for tile in tiles if tile[0] > 0] == [(1, 0, 256), (1, 1, 17), (2, 0, 1)]


def test_a_tree_of_256_entries_has_a_full_tile_and_a_partial_one_above() -> None:
    assert list(tiles_of(256)) == [(0, 0, 256), (1, 0, 1)]
    assert not list(tiles_of(0))


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_is_read_as_it_was_written(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries), len(entries)) == entries


@given(st.binary(max_size=200), st.integers(0, 256))
def test_any_bytes_are_a_bundle_or_refused(data: bytes, width: int) -> None:
    try:
        entries = decode_bundle(data, width)
    except ProofInvalid:
        return
    assert encode_bundle(entries) == data


def test_a_bundle_that_is_cut_or_has_more_is_refused_with_the_place() -> None:
    data = encode_bundle([b"one", b"two"])
    with pytest.raises(ProofInvalid, match="within entry 1 of 2"):
        decode_bundle(data[:-1], 2)
    with pytest.raises(ProofInvalid, match="after 2 of 3"):
        decode_bundle(data, 3)
    with pytest.raises(ProofInvalid, match="5 bytes after its 1"):
        decode_bundle(data, 1)


def test_no_bundle_holds_an_entry_of_64_kib() -> None:
    with pytest.raises(ValueError, match="65536 bytes"):
        encode_bundle([bytes(65_536)])


def test_a_tile_of_another_length_is_refused() -> None:
    with pytest.raises(ProofInvalid, match="63 bytes, not 64"):
        split_tile(bytes(63), 2)
    assert split_tile(bytes(64), 2) == [bytes(32), bytes(32)]


class InMemory:
    """Tiles by level and index."""

    def __init__(self, tiles: dict[tuple[int, int], bytes]) -> None:
        self._tiles = tiles

    def tile(self, level: int, index: int, width: int) -> list[bytes]:
        return split_tile(self._tiles[level, index], width)


def tiles_and_leaves(size: int) -> tuple[dict[tuple[int, int], bytes], list[bytes], dict[int, bytes]]:
    """Tiles of a tree, its leaf hashes, and its root at each size."""
    edge = TreeEdge()
    tiles: dict[tuple[int, int], bytes] = {}
    leaves, roots = [], {0: edge.root()}
    for number in range(size):
        leaf = leaf_hash(str(number).encode())
        leaves.append(leaf)
        for level, root in enumerate(edge.append(leaf)):
            if level % 8 == 0:
                place = (level // 8, number >> level >> 8)
                tiles[place] = tiles.get(place, b"") + root
        roots[edge.size] = edge.root()
    return tiles, leaves, roots


def test_proofs_from_tiles_verify_in_a_tree_with_partial_tiles_on_two_levels() -> None:
    size = 70_000
    tiles, leaves, roots = tiles_and_leaves(size)
    assert {(level, index): len(data) // 32 for (level, index), data in tiles.items()} == {
        (level, index): width for level, index, width in tiles_of(size)
    }
    hashes = TileHashes(InMemory(tiles), size)
    for index in (0, 1, 255, 256, 65_535, 65_536, 69_887, 69_888, 69_999):
        verify_inclusion(leaves[index], index, size, inclusion_proof(hashes, index, size), roots[size])
    for old in (1, 255, 256, 257, 65_535, 65_536, 65_537, 69_999):
        verify_consistency(old, roots[old], size, roots[size], consistency_proof(hashes, old, size))
