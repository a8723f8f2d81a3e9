"""Proofs, checkpoints, tiles and bundles agree with the vectors that other implementations publish (``published/README.md``)."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import msgspec
import pytest

from queueing.errors import ProofInvalid
from queueing.transparency.checkpoints import Checkpoint, verify_checkpoint
from queueing.transparency.merkle import EMPTY_ROOT, HASH_BYTES, TreeEdge, leaf_hash
from queueing.transparency.notes import read_verifier_key
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
    split_tile,
    tile_path,
)

PUBLISHED = Path(__file__).parent / "published"


class Inclusion(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    name: str
    leaf_idx: int
    tree_size: int
    root: bytes
    leaf_hash: bytes
    proof: list[bytes] | None
    want_err: bool

    def verify(self) -> None:
        verify_inclusion(self.leaf_hash, self.leaf_idx, self.tree_size, self.proof or [], self.root)


class Consistency(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    name: str
    size1: int
    size2: int
    root1: bytes
    root2: bytes
    proof: list[bytes] | None
    want_err: bool

    def verify(self) -> None:
        root1, root2, *proof = map(self._hash, [self.root1, self.root2, *(self.proof or [])])
        verify_consistency(self.size1, root1, self.size2, root2, proof)

    def _hash(self, value: bytes) -> bytes:
        """Vectors about sizes have texts for hashes ("don't care 2"), which we would refuse for their length."""
        is_text = "/additional/" in self.name and len(value) != HASH_BYTES
        return hashlib.sha256(value).digest() if is_text else value


class Log(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    vkey: str
    checkpoints: list[str]
    tile: bytes
    bundle: bytes

    @property
    def entries(self) -> list[bytes]:
        return decode_bundle(self.bundle, len(self.checkpoints) - 1)

    @property
    def heads(self) -> list[Checkpoint]:
        key = read_verifier_key(self.vkey)
        return [verify_checkpoint(note.encode(), [key], key.name) for note in self.checkpoints]


def lines(name: str) -> list[bytes]:
    return (PUBLISHED / name).read_bytes().splitlines()


VECTORS: list[Inclusion | Consistency] = [
    *(msgspec.json.decode(line, type=Inclusion) for line in lines("inclusion.jsonl")),
    *(msgspec.json.decode(line, type=Consistency) for line in lines("consistency.jsonl")),
]
GOOD = [each for each in VECTORS if not each.want_err]
BAD = [each for each in VECTORS if each.want_err]

ANY_LOG_CONTINUES_THE_EMPTY_ONE = "consistency/additional/size1-is-zero-and-size2-is-not-zero"
"""The one vector that we judge otherwise: it is refused there because it proves nothing, which is true of any log."""


@pytest.fixture
def log() -> Log:
    return msgspec.json.decode((PUBLISHED / "log.json").read_bytes(), type=Log)


def test_both_kinds_of_vectors_are_read_whole() -> None:
    assert (len(GOOD), len(BAD)) == (12, 184)


@pytest.mark.parametrize("vector", GOOD, ids=lambda vector: vector.name)
def test_a_published_proof_holds(vector: Inclusion | Consistency) -> None:
    vector.verify()


@pytest.mark.parametrize("vector", BAD, ids=lambda vector: vector.name)
def test_a_published_wrong_proof_is_refused(vector: Inclusion | Consistency) -> None:
    if vector.name == ANY_LOG_CONTINUES_THE_EMPTY_ONE:
        vector.verify()
        return
    with pytest.raises(ProofInvalid):
        vector.verify()


def test_checkpoints_of_another_log_server_are_the_heads_of_its_entries(log: Log) -> None:
    """Each is read from its note under the published key; our tree over the same entries has the same root at each size."""
    edge, roots = TreeEdge(), [EMPTY_ROOT]
    for entry in log.entries:
        edge.append(leaf_hash(entry))
        roots.append(edge.root())
    assert [head.root for head in log.heads] == roots
    assert [head.size for head in log.heads] == [*range(16)]


def test_tile_and_bundle_of_another_log_server_are_those_that_we_would_write(log: Log) -> None:
    assert log.entries[:2] == [b"one", b"two"]
    assert encode_bundle(log.entries) == log.bundle
    assert b"".join(map(leaf_hash, log.entries)) == log.tile
    assert (tile_path(0, 0, 15), bundle_path(0, 15)) == ("tile/0/000.p/15", "tile/entries/000.p/15")


def test_proofs_from_the_tile_of_another_log_server_hold_under_its_checkpoints(log: Log) -> None:
    class OneTile:
        def tile(self, level: int, index: int, width: int) -> list[bytes]:
            assert (level, index) == (0, 0)
            return split_tile(log.tile[: 32 * width], width)

    newest = log.heads[-1]
    hashes = TileHashes(OneTile(), newest.size)
    for index, entry in enumerate(log.entries):
        proof = inclusion_proof(hashes, index, newest.size)
        verify_inclusion(leaf_hash(entry), index, newest.size, proof, newest.root)
    for head in log.heads:
        proof = consistency_proof(hashes, head.size, newest.size)
        verify_consistency(head.size, head.root, newest.size, newest.root, proof)


def test_a_checkpoint_of_another_log_server_with_another_root_is_refused(log: Log) -> None:
    key = read_verifier_key(log.vkey)
    root = base64.b64encode(log.heads[-2].root).decode()
    forged = log.checkpoints[-1].replace(log.checkpoints[-1].split("\n")[2], root)
    with pytest.raises(ProofInvalid):
        verify_checkpoint(forged.encode(), [key], key.name)
