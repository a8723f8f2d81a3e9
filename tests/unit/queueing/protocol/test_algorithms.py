"""Facts of algorithms and kinds of key: complete, consistent, and the only place that lists them."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

import pytest

from queueing.protocol.algorithms import (
    DEFAULT_FOR_KEY,
    FACTS,
    HASH_OIDS,
    KEY_KINDS,
    Algorithm,
    KeyFamily,
    KeyKind,
)
from queueing.protocol.public_keys import placeholder_key
from queueing.protocol.signing_costs import COST_OF
from workers.cli.keys.key_request import KIND_NAMES
from workers.hsm.encodings import CURVE_OF
from workers.hsm.mechanisms import KEY_TYPE, MECHANISMS

REPOSITORY = Path(__file__).parents[4]
MAY_NAME_ONE_KIND = {
    "queueing/protocol/algorithms.py",  # the tables
    "workers/config/tenant_file.py",  # a rule about RSA-2048 alone
    "workers/issuer/issuer_file.py",  # the one kind of an issuer's key (ADR 0051)
    "workers/cli/issuer/create_key.py",  # which this command makes
}


def test_every_kind_and_algorithm_has_its_facts() -> None:
    """A member without a row would be found at its first use only."""
    assert list(KEY_KINDS) == list(KeyKind)
    assert list(FACTS) == list(Algorithm)


@pytest.mark.parametrize("kind", KeyKind)
def test_the_facts_of_a_kind_are_consistent(kind: KeyKind) -> None:
    """RSA has a size and no curve, the others a curve and no size; the default algorithm signs with the kind."""
    facts = KEY_KINDS[kind]
    is_rsa = facts.family is KeyFamily.RSA
    assert bool(facts.rsa_bits) is is_rsa
    assert (bool(facts.curve), bool(facts.curve_oid), bool(facts.point_bytes)) == (not is_rsa,) * 3
    assert kind in FACTS[facts.default_algorithm].key_kinds
    assert facts.cost > 0


@pytest.mark.parametrize("kind", KeyKind)
def test_every_table_of_kinds_follows_from_the_facts(kind: KeyKind) -> None:
    """A new kind is in the costs, the defaults, the curves, the key types, the command line and the public keys."""
    facts = KEY_KINDS[kind]
    assert COST_OF[kind] == facts.cost
    assert DEFAULT_FOR_KEY[kind] is facts.default_algorithm
    assert (kind in CURVE_OF) is bool(facts.curve)
    assert facts.family in KEY_TYPE
    assert list(KIND_NAMES.values()).count(kind) == 1
    key = placeholder_key(kind)
    assert key.kind is kind
    assert key.algorithms == {name for name, row in FACTS.items() if kind in row.key_kinds}


def test_signatures_have_the_lengths_of_their_standards() -> None:
    """RSA as long as the modulus, ECDSA r and s each as long as the order, Ed25519 64 bytes."""
    assert {kind: facts.signature_bytes for kind, facts in KEY_KINDS.items()} == {
        KeyKind.RSA_2048: 256,
        KeyKind.RSA_3072: 384,
        KeyKind.RSA_4096: 512,
        KeyKind.P256: 64,
        KeyKind.P384: 96,
        KeyKind.P521: 132,
        KeyKind.ED25519: 64,
    }


@pytest.mark.parametrize("algorithm", Algorithm)
def test_every_algorithm_has_a_mechanism_and_a_known_hash(algorithm: Algorithm) -> None:
    """The hash is one of the table, and the digest is as long as the hash."""
    facts = FACTS[algorithm]
    assert algorithm in MECHANISMS
    if facts.hash_name is not None:
        assert facts.hash_name in HASH_OIDS
        assert facts.digest_lengths == {hashlib.new(facts.hash_name).digest_size}


def test_the_command_line_names_are_those_that_it_always_had() -> None:
    """They are derived from the names of the kinds, and are part of the interface."""
    assert list(KIND_NAMES) == ["rsa-2048", "rsa-3072", "rsa-4096", "p256", "p384", "p521", "ed25519"]


def test_no_other_module_lists_kinds_of_key() -> None:
    """A second list would have to be found when a kind is added; demo and bench choose their keys."""
    found = set()
    for folder in ("queueing", "workers"):
        for file in (REPOSITORY / folder).rglob("*.py"):
            text = file.read_text()
            if "KeyKind" not in text:
                continue
            tree = ast.parse(text)
            if any(
                isinstance(node, ast.Attribute)
                and isinstance(node.value, ast.Name)
                and node.value.id == "KeyKind"
                and node.attr in KeyKind.__members__
                for node in ast.walk(tree)
            ):
                found.add(file.relative_to(REPOSITORY).as_posix())
    assert {name for name in found if not name.startswith("workers/dev/")} == MAY_NAME_ONE_KIND
