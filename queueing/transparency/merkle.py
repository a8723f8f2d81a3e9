"""Merkle tree of RFC 6962 over SHA-256: hashes, and the right edge of a tree that only grows.

``TreeEdge`` keeps one hash per complete subtree at the right edge (the set bits of the size), so that appending a leaf
costs amortised two hashes, and the root O(log size). Hashes have 32 bytes. Source: RFC 6962, section 2.1.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()
"""Root of a tree without leaves."""

MAX_SIZE: Final = 2**63 - 1
"""Largest size of a tree that is read from outside."""


def leaf_hash(entry: bytes) -> bytes:
    """Hash of a leaf: SHA-256 of 0x00 and the entry."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node: SHA-256 of 0x01 and both children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root_of(leaves: list[bytes]) -> bytes:
    """Root over leaf hashes, in order. O(leaves)."""
    level = leaves
    while len(level) > 1:
        above = [node_hash(left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
        if len(level) % 2:
            above.append(level[-1])  # a last subtree without a neighbour is its own parent
        level = above
    return level[0] if level else EMPTY_ROOT


@dataclass(slots=True)
class TreeEdge:
    """Right edge of a growing tree: ``size``, and the roots of its complete subtrees, the widest first."""

    size: int = 0
    subtrees: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raises ``ValueError`` where the number of subtrees does not fit the size."""
        if self.size < 0 or len(self.subtrees) != self.size.bit_count():
            raise ValueError(
                f"a tree of {self.size} leaves has another number of subtrees than {len(self.subtrees)}"
            )

    def append(self, leaf: bytes) -> list[bytes]:
        """Append a leaf hash. Returns the subtree roots that became complete: of level 0 (the leaf), 1, 2, …"""
        completed = [leaf]
        below = self.size
        while below & 1:
            leaf = node_hash(self.subtrees.pop(), leaf)
            completed.append(leaf)
            below >>= 1
        self.subtrees.append(leaf)
        self.size += 1
        return completed

    def extend(self, leaves: list[bytes]) -> list[list[bytes]]:
        """Append leaf hashes, in order: the same as ``append`` of each, level by level, which takes less time.

        Returns the subtree roots that became complete, by their level: those of level 0 (the leaves), 1, 2, …
        """
        completed: list[list[bytes]] = []
        narrowest_first: list[bytes] = []
        nodes, before = leaves, self.size
        while nodes or before:
            completed.append(nodes)
            row = [self.subtrees.pop(), *nodes] if before & 1 else nodes
            nodes = [node_hash(left, right) for left, right in zip(row[::2], row[1::2], strict=False)]
            if len(row) % 2:
                narrowest_first.append(row[-1])
            before >>= 1
        self.subtrees = narrowest_first[::-1]
        self.size += len(leaves)
        return completed

    def root(self) -> bytes:
        """Root of the tree at its present size."""
        if not self.subtrees:
            return EMPTY_ROOT
        root = self.subtrees[-1]
        for subtree in reversed(self.subtrees[:-1]):
            root = node_hash(subtree, root)
        return root

    def copy(self) -> TreeEdge:
        """An independent copy, to be continued on its own."""
        return TreeEdge(self.size, list(self.subtrees))
