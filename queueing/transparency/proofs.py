"""Inclusion and consistency proofs of RFC 6962, built from stored hashes and verified from nothing but their bytes.

A proof is a list of 32-byte hashes in the RFC's order: from the leaf's sibling up to a child of the root. Building asks a
``SubtreeHashes`` for roots of complete, aligned subtrees (level, index) only: what tiles hold. Source: RFC 6962, sections
2.1.1 and 2.1.2; verification as in RFC 9162, sections 2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

import hmac
from typing import Protocol

from queueing.errors import ProofInvalid
from queueing.transparency.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE, node_hash


class SubtreeHashes(Protocol):
    """Roots of the complete subtrees of a tree."""

    def subtree(self, level: int, index: int) -> bytes:
        """Root over the leaves ``index * 2**level`` to ``(index + 1) * 2**level``, 32 bytes."""


def range_root(hashes: SubtreeHashes, begin: int, end: int) -> bytes:
    """Root over the leaves from ``begin`` to ``end`` (exclusive) as a node of the RFC's tree: ``begin`` is aligned."""
    roots: list[bytes] = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        roots.append(hashes.subtree(level, begin >> level))
        begin += 1 << level
    if not roots:
        return EMPTY_ROOT
    root = roots.pop()
    while roots:
        root = node_hash(roots.pop(), root)
    return root


def inclusion_proof(hashes: SubtreeHashes, index: int, size: int) -> list[bytes]:
    """Proof that leaf ``index`` is in the tree of ``size`` leaves. Raises ``ValueError`` where it cannot be."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size} leaves")
    begin, end = 0, size
    siblings: list[bytes] = []
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            siblings.append(range_root(hashes, middle, end))
            end = middle
        else:
            siblings.append(range_root(hashes, begin, middle))
            begin = middle
    return siblings[::-1]


def consistency_proof(hashes: SubtreeHashes, old_size: int, size: int) -> list[bytes]:
    """Proof that the tree of ``old_size`` leaves is a prefix of that of ``size``. Raises ``ValueError``.

    Empty for equal sizes, and for an empty old tree.
    """
    if not 0 <= old_size <= size:
        raise ValueError(f"a tree of {old_size} leaves is no prefix of one of {size}")
    if old_size in {0, size}:
        return []
    begin, end = 0, size
    proof: list[bytes] = []
    while end != old_size:
        middle = begin + _split(end - begin)
        if old_size <= middle:
            proof.append(range_root(hashes, middle, end))
            end = middle
        else:
            proof.append(range_root(hashes, begin, middle))
            begin = middle
    if begin:  # else the old tree is itself a node, and the verifier has its root
        proof.append(range_root(hashes, begin, end))
    return proof[::-1]


def root_from_inclusion(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes:
    """The root that follows from a leaf hash and its inclusion proof. Raises ``ProofInvalid`` for a wrong length."""
    if not 0 <= index < size <= MAX_SIZE:
        raise ProofInvalid(f"entry {index} cannot be in a log of {size} entries")
    _check_hashes([leaf, *proof])
    sides = _left_siblings(index, size - 1)
    if len(proof) != len(sides):
        wrong = "many" if len(proof) > len(sides) else "few"
        raise ProofInvalid(f"the inclusion proof of entry {index} in {size} has too {wrong} hashes")
    root = leaf
    for is_left, sibling in zip(sides, proof, strict=True):
        root = node_hash(sibling, root) if is_left else node_hash(root, sibling)
    return root


def verify_inclusion(leaf: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> None:
    """Check that a leaf hash is entry ``index`` of the tree with this size and root. Raises ``ProofInvalid``."""
    if not hmac.compare_digest(root_from_inclusion(leaf, index, size, proof), root):
        raise ProofInvalid(
            f"the entry is not number {index} of the log with this checkpoint ({size} entries)"
        )


def verify_consistency(old_size: int, old_root: bytes, size: int, root: bytes, proof: list[bytes]) -> None:
    """Check that the older tree is a prefix of the newer one. Raises ``ProofInvalid``."""
    if not 0 <= old_size <= size <= MAX_SIZE:
        raise ProofInvalid(f"a log of {old_size} entries cannot be the beginning of one of {size}")
    _check_hashes([old_root, root, *proof])
    if old_size in {0, size}:
        heads = {(0, EMPTY_ROOT), (old_size, old_root), (size, root)}
        if proof or len(heads) != len({0, old_size, size}):  # a size has one root
            raise ProofInvalid(f"two checkpoints with {old_size} and {size} entries do not belong together")
        return
    old_computed, computed = _roots_from_consistency(old_size, old_root, size, proof)
    if not (hmac.compare_digest(old_computed, old_root) and hmac.compare_digest(computed, root)):
        raise ProofInvalid(f"the log with {old_size} entries is not the beginning of the one with {size}")


def _roots_from_consistency(
    old_size: int, old_root: bytes, size: int, proof: list[bytes]
) -> tuple[bytes, bytes]:
    """Old and new root that follow from a proof (RFC 9162, section 2.1.4.2)."""
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    wrong_length = ProofInvalid(
        f"the consistency proof from {old_size} to {size} has a wrong number of hashes"
    )
    if not path:
        raise wrong_length
    place, last = old_size - 1, size - 1
    while place & 1:
        place >>= 1
        last >>= 1
    sides = _left_siblings(place, last)
    old_computed, *siblings = path
    if len(siblings) != len(sides):
        raise wrong_length
    computed = old_computed
    for is_left, sibling in zip(sides, siblings, strict=True):
        if is_left:
            old_computed = node_hash(sibling, old_computed)
            computed = node_hash(sibling, computed)
        else:
            computed = node_hash(computed, sibling)
    return old_computed, computed


def _left_siblings(place: int, last: int) -> list[bool]:
    """Whether each sibling on the way from a node up to the root is the left one.

    ``place`` is the node's number in its level, ``last`` that of the level's last node. A last node without a right sibling
    goes up until it has a left one (RFC 9162, sections 2.1.3.2 and 2.1.4.2, step by step).
    """
    sides: list[bool] = []
    while last:
        is_left = bool(place & 1) or place == last
        sides.append(is_left)
        while is_left and place and not place & 1:
            place >>= 1
            last >>= 1
        place >>= 1
        last >>= 1
    return sides


def _check_hashes(hashes: list[bytes]) -> None:
    for each in hashes:
        if len(each) != HASH_BYTES:
            raise ProofInvalid(f"a hash in the proof has {len(each)} bytes, not {HASH_BYTES}")


def _split(leaves: int) -> int:
    """Leaves in the left subtree: the largest power of two below ``leaves``."""
    return 1 << ((leaves - 1).bit_length() - 1)
