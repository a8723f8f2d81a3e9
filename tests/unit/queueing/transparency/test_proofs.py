"""Trees and proofs agree with the vectors of Certificate Transparency, and no changed proof is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.errors import ProofInvalid
from queueing.transparency.merkle import EMPTY_ROOT, TreeEdge, leaf_hash, node_hash, root_of
from queueing.transparency.proofs import (
    consistency_proof,
    inclusion_proof,
    root_from_inclusion,
    verify_consistency,
    verify_inclusion,
)

# The vectors of google/certificate-transparency, cpp/merkletree/merkle_tree_test.cc: eight entries, and roots of the first n.
ENTRIES = [
    bytes.fromhex(each)
    for each in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


class Leaves:
    """Roots of complete subtrees, computed from the leaves."""

    def __init__(self, count: int) -> None:
        self.hashes = [leaf_hash(str(number).encode()) for number in range(count)]

    def subtree(self, level: int, index: int) -> bytes:
        return root_of(self.hashes[index << level : (index + 1) << level])

    def root(self, size: int) -> bytes:
        return root_of(self.hashes[:size])


class Vectors(Leaves):
    def __init__(self) -> None:
        self.hashes = [leaf_hash(entry) for entry in ENTRIES]


def test_roots_are_those_of_the_published_vectors() -> None:
    assert [Vectors().root(size).hex() for size in range(1, 9)] == ROOTS
    assert Vectors().root(0) == EMPTY_ROOT


@pytest.mark.parametrize("index, size", INCLUSION)
def test_inclusion_proofs_are_those_of_the_published_vectors(index: int, size: int) -> None:
    assert [each.hex() for each in inclusion_proof(Vectors(), index, size)] == INCLUSION[index, size]


@pytest.mark.parametrize("old_size, size", CONSISTENCY)
def test_consistency_proofs_are_those_of_the_published_vectors(old_size: int, size: int) -> None:
    assert [each.hex() for each in consistency_proof(Vectors(), old_size, size)] == CONSISTENCY[
        old_size, size
    ]


def test_every_entry_of_every_small_tree_is_proven_and_no_other_place_is() -> None:
    leaves = Leaves(20)
    for size in range(1, 21):
        root = leaves.root(size)
        for index in range(size):
            proof = inclusion_proof(leaves, index, size)
            verify_inclusion(leaves.hashes[index], index, size, proof, root)
            for other in range(size):
                if other != index:
                    with pytest.raises(ProofInvalid):
                        verify_inclusion(leaves.hashes[index], other, size, proof, root)


def test_every_prefix_of_every_small_tree_is_proven_and_no_other_size_is() -> None:
    leaves = Leaves(20)
    for size in range(21):
        for old_size in range(size + 1):
            proof = consistency_proof(leaves, old_size, size)
            verify_consistency(old_size, leaves.root(old_size), size, leaves.root(size), proof)
            for other in range(size + 1):
                if other != old_size:
                    with pytest.raises(ProofInvalid):
                        verify_consistency(other, leaves.root(old_size), size, leaves.root(size), proof)


@pytest.mark.parametrize("old_size", range(1, 12))
def test_a_log_with_another_history_is_no_prefix_of_this_one(old_size: int) -> None:
    """The proof alone gives the newer root where the older size is no power of two."""
    leaves = Leaves(12)
    proof = consistency_proof(leaves, old_size, 12)
    with pytest.raises(ProofInvalid):
        verify_consistency(old_size, node_hash(bytes(32), bytes(32)), 12, leaves.root(12), proof)


@given(st.integers(1, 600), st.data())
def test_a_proof_with_one_changed_bit_is_refused(size: int, data: st.DataObject) -> None:
    leaves = Leaves(size)
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(leaves, index, size)
    place = data.draw(st.integers(0, len(proof)))
    hashes = [*proof, leaves.hashes[index]]
    bit = data.draw(st.integers(0, 255))
    hashes[place] = (int.from_bytes(hashes[place]) ^ (1 << bit)).to_bytes(32)
    with pytest.raises(ProofInvalid):
        verify_inclusion(hashes[-1], index, size, hashes[:-1], leaves.root(size))


@given(
    st.lists(st.binary(min_size=32, max_size=32), max_size=70), st.integers(-1, 2**70), st.integers(-1, 2**70)
)
def test_any_sizes_and_hashes_are_refused_in_one_way(proof: list[bytes], index: int, size: int) -> None:
    with pytest.raises(ProofInvalid):
        verify_inclusion(bytes(32), index, size, proof, bytes([1]) * 32)
    with pytest.raises(ProofInvalid):
        verify_consistency(index, bytes(32), size, bytes([1]) * 32, proof)


def test_a_hash_of_another_length_is_refused() -> None:
    with pytest.raises(ProofInvalid, match="31 bytes"):
        root_from_inclusion(bytes(32), 0, 2, [bytes(31)])


@given(st.integers(0, 300), st.integers(0, 300))
def test_an_edge_that_is_continued_from_its_bytes_gives_the_same_root(size: int, more: int) -> None:
    hashes = Leaves(size + more).hashes
    edge = TreeEdge()
    for leaf in hashes[:size]:
        edge.append(leaf)
    continued = TreeEdge(edge.size, list(edge.subtrees))
    for leaf in hashes[size:]:
        continued.append(leaf)
    assert continued.root() == root_of(hashes)


@given(st.integers(0, 300), st.lists(st.integers(0, 70), max_size=6))
def test_leaves_that_are_appended_together_give_what_each_alone_gives(size: int, counts: list[int]) -> None:
    hashes = Leaves(size + sum(counts)).hashes
    one_by_one, together = TreeEdge(), TreeEdge()
    for leaf in hashes[:size]:
        one_by_one.append(leaf)
    together.extend(hashes[:size])
    for count in counts:
        levels: dict[int, list[bytes]] = {}
        leaves = hashes[together.size : together.size + count]
        for leaf in leaves:
            for level, root in enumerate(one_by_one.append(leaf)):
                levels.setdefault(level, []).append(root)
        completed = together.extend(leaves)
        assert {level: roots for level, roots in enumerate(completed) if roots} == levels
        assert together == one_by_one
        assert together.root() == root_of(hashes[: together.size])


def test_an_edge_whose_subtrees_do_not_fit_its_size_is_refused() -> None:
    with pytest.raises(ValueError, match="another number of subtrees"):
        TreeEdge(3, [bytes(32)])


def test_appending_tells_which_subtrees_became_complete() -> None:
    leaves = Leaves(8)
    edge = TreeEdge()
    completed = [edge.append(leaf) for leaf in leaves.hashes]
    assert [len(roots) for roots in completed] == [1, 2, 1, 3, 1, 2, 1, 4]
    for number, roots in enumerate(completed):
        assert roots == [leaves.subtree(level, number >> level) for level in range(len(roots))]


@pytest.mark.parametrize("index, size", [(5, 5), (-1, 5), (0, 0)])
def test_no_proof_is_built_for_an_entry_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="not in a tree"):
        inclusion_proof(Leaves(5), index, size)


def test_no_proof_is_built_for_a_larger_old_tree() -> None:
    with pytest.raises(ValueError, match="no prefix"):
        consistency_proof(Leaves(5), 6, 5)
