"""Keys are made inside the token, found by their public key, and refused unless they can show where they come from."""

from __future__ import annotations

import pytest

from queueing.protocol.algorithms import KeyKind
from queueing.protocol.public_keys import PublicKey
from tests.integration.hsm.conftest import Keys
from workers.hsm.keys import REQUIRED_ATTRIBUTES


@pytest.mark.parametrize("kind", KeyKind)
def test_a_created_key_is_of_its_kind_and_has_all_required_attributes(keys: Keys, kind: KeyKind) -> None:
    record = keys.made["records"][kind]
    assert record["kind"] == kind
    assert record["attributes"] == REQUIRED_ATTRIBUTES
    assert len(bytes.fromhex(record["key_id"])) == 16
    assert PublicKey.from_spki(bytes.fromhex(record["spki"])).kind is kind


def test_no_two_created_keys_share_an_id(keys: Keys) -> None:
    ids = [record["key_id"] for record in keys.made["records"].values()]
    assert len(set(ids)) == len(ids)


def test_a_created_key_signs_and_does_nothing_else(keys: Keys) -> None:
    found = keys.run("private_template", labels=[str(kind) for kind in KeyKind])["found"]
    for label, shown in found.items():
        true = {name for name, value in shown.items() if value}
        assert true == {"SIGN", "PRIVATE", "TOKEN"}, label


def test_a_label_is_given_once(keys: Keys) -> None:
    assert keys.made["again"]["error"] == "KeyRefused"
    assert "exists in the token already" in keys.made["again"]["text"]


def test_listing_shows_every_key_by_label(keys: Keys) -> None:
    assert keys.made["listed"] == sorted(keys.made["records"].values(), key=lambda record: record["label"])


def test_adopting_finds_a_key_by_label_and_by_id(keys: Keys) -> None:
    first = next(iter(keys.made["records"].values()))
    assert keys.made["adopted"] == [first, first]


@pytest.fixture(scope="module")
def refused(keys: Keys) -> dict[str, dict[str, str]]:
    token = keys.hsm.init_token("careless")
    own = Keys(hsm=keys.hsm, token=token, made={})
    return own.run("refused_keys")


@pytest.mark.parametrize(
    "label, words",
    [
        ("extractable", ["CKA_EXTRACTABLE is not false", "CKA_NEVER_EXTRACTABLE is not true"]),
        ("not-sensitive", ["CKA_SENSITIVE is not true", "CKA_ALWAYS_SENSITIVE is not true"]),
        ("no-sign", ["CKA_SIGN is not true"]),
        ("imported", ["CKA_LOCAL is not true"]),
        ("twin-a", ["its public key is not in the token exactly once"]),
        ("same-label", ["2 private keys match"]),
        ("no-public", ["its public key is not in the token exactly once"]),
        ("missing", ["0 private keys match"]),
    ],
)
def test_a_key_that_cannot_show_its_origin_is_refused_and_told_why(
    refused: dict[str, dict[str, str]], label: str, words: list[str]
) -> None:
    assert refused[label]["error"] == "KeyRefused"
    for part in words:
        assert part in refused[label]["text"]


def test_a_key_is_found_only_if_exactly_one_matches(fresh: Keys) -> None:
    found = fresh.run("find_duplicates")
    assert found["ec"]["error"] == "KeyRefused"
    assert "2 times" in found["ec"]["text"]
    assert found["rsa"]["error"] == "KeyRefused"
    assert "2 times" in found["rsa"]["text"]
    assert found["absent"]["error"] == "KeyMissing"
    assert "0 times" in found["absent"]["text"]
