"""An edit changes what was meant and nothing else, or is refused."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime

import pytest

from queueing.protocol.algorithms import Algorithm
from tests.support.fakes.config_files import client_line, p256_key, tenant_text, version_lines
from workers.config.tenant_edits import (
    EditRefused,
    NewVersion,
    add_version,
    change_key,
    change_versions,
    revoke_client,
)


def new_version(key: str = "release", version: int = 2) -> NewVersion:
    """A further version of a key."""
    return NewVersion(
        key=key,
        version=version,
        state="next",
        public_key=p256_key(5),
        tokens=("acme",),
        algorithms=(Algorithm.ECDSA_SHA_256,),
        profile="code-signing",
    )


def test_a_version_is_added_at_the_end_and_the_epoch_grows() -> None:
    """The operator's words stay where they are; the version and the next epoch are all that is new."""
    edited = add_version(tenant_text(), new_version())

    assert edited.startswith("# the operator's own words\n")
    before, after = tomllib.loads(tenant_text()), tomllib.loads(edited)
    assert after["epoch"] == before["epoch"] + 1
    assert after["keys"]["release"]["versions"][:1] == before["keys"]["release"]["versions"]
    assert after["keys"]["release"]["versions"][1]["public_key_sha256"] == p256_key(5).sha256.hex()
    assert after["clients"] == before["clients"]


def test_a_new_key_brings_its_table() -> None:
    """A name with a dot is quoted: unquoted it would be a table within a table."""
    edited = tomllib.loads(add_version(tenant_text(), new_version("release.v2", 1)))

    assert edited["keys"]["release.v2"]["algorithms"] == ["ECDSA_SHA_256"]


def test_an_epoch_is_entered_where_there_was_none() -> None:
    """No epoch is epoch 0."""
    edited = add_version(tenant_text().replace("epoch = 4\n", ""), new_version())

    assert tomllib.loads(edited)["epoch"] == 1


def test_versions_written_inline_are_left_to_the_operator() -> None:
    """TOML has no way to append to an inline array below it."""
    text = 'tenant = "acme"\n[keys.release]\nalgorithms = ["ECDSA_SHA_256"]\nversions = [{ version = 1 }]\n'

    with pytest.raises(EditRefused, match="no longer valid TOML"):
        add_version(text, new_version())


@pytest.mark.parametrize(
    "state", ["", 'state = "active"\n', 'state = "active"   # since May\n'], ids=["none", "plain", "comment"]
)
@pytest.mark.parametrize("header", ["[clients.build-1]", '[clients."build-1"]', "[ clients . build-1 ]"])
def test_a_client_is_revoked(state: str, header: str) -> None:
    """Its state becomes revoked; the other clients, and all else, stay."""
    second = f'[clients.build-2]\npublic_key = "{client_line(2)}"\nexpires = 2099-01-01T00:00:00Z\n\n[keys.release]'
    text = (
        tenant_text().replace("[keys.release]", second).replace("[clients.build-1]\n", f"{header}\n{state}")
    )

    edited = tomllib.loads(revoke_client(text, "build-1"))

    assert edited["clients"]["build-1"]["state"] == "revoked"
    assert "state" not in edited["clients"]["build-2"]
    assert edited["epoch"] == 5


def test_an_inline_client_is_left_to_the_operator() -> None:
    """Without a header of the client nothing is guessed."""
    text = 'tenant = "acme"\nclients = { build-1 = { public_key = "x", expires = 2099-01-01T00:00:00Z } }\n'

    with pytest.raises(EditRefused):
        revoke_client(text, "build-1")


def test_a_client_whose_header_is_in_a_string_as_well_is_left_to_the_operator() -> None:
    """An edit of the text that only looks like its table would revoke no client."""
    text = 'tenant = "acme"\nnote = """\n[clients.build-1]\n"""\n[clients.build-1]\npublic_key = "x"\n'

    with pytest.raises(EditRefused):
        revoke_client(text, "build-1")


COMMENTED = f"""\
# the operator's own words
tenant = "acme"   # a customer since 2019
epoch = 4   # quarterly

[keys.release]   # the firmware key
clients = ["*"]   # all of them # for now
algorithms = [
  "ECDSA_SHA_256",   # asked for by the boot loader
  # never SHA-1
]

# what follows is generated
[[keys.release.versions]]
{version_lines(p256_key(1))}
# the new one
[[ keys."release" . versions ]]
{version_lines(p256_key(2), version=2, state="next").rstrip()}"""


def test_fields_of_a_key_change_and_every_comment_stays() -> None:
    """A value over several lines becomes one line; the comments in between are above it."""
    edited = change_key(
        COMMENTED,
        "release",
        {"clients": ["build-1"], "algorithms": ["ECDSA_SHA_256"], "budget": {"digests": 5, "per": "day"}},
    )

    comments = [line.partition("#")[2] for line in COMMENTED.splitlines() if "#" in line]
    assert [words for words in comments if words not in edited] == []
    above = "# asked for by the boot loader\n# never SHA-1\n"
    assert f'{above}algorithms = ["ECDSA_SHA_256"]\n' in edited
    key = tomllib.loads(edited)["keys"]["release"]
    assert (key["clients"], key["budget"]) == (["build-1"], {"digests": 5, "per": "day"})
    assert tomllib.loads(edited)["epoch"] == 5


def test_fields_of_one_version_change_and_no_others() -> None:
    """A version is meant by its number, however its header is written; None takes a field away."""
    moment = datetime(2026, 12, 1, tzinfo=UTC)

    edited = change_versions(
        COMMENTED,
        "release",
        {2: {"active_from": moment}, 1: {"state": "verify-only", "tokens": ["acme", "b"]}},
    )

    one, two = tomllib.loads(edited)["keys"]["release"]["versions"]
    assert (one["state"], one["tokens"], two["state"], two["active_from"]) == (
        "verify-only", ["acme", "b"], "next", moment,
    )  # fmt: skip
    again = change_versions(edited, "release", {2: {"active_from": None}})
    assert "active_from" not in tomllib.loads(again)["keys"]["release"]["versions"][1]
    assert "# the new one" in again


def test_fields_of_the_head_change_with_those_of_a_version() -> None:
    """In one epoch; the comments of the head stay."""
    edited = change_versions(
        COMMENTED, "release", {2: {"state": "active"}}, head={"lifted_orders": ["0f" * 16]}
    )

    after = tomllib.loads(edited)
    assert (after["lifted_orders"], after["epoch"]) == (["0f" * 16], 5)
    assert after["keys"]["release"]["versions"][1]["state"] == "active"
    assert "# a customer since 2019" in edited


@pytest.mark.parametrize(
    "text",
    [
        'tenant = "acme"\n[keys]\nrelease = { clients = ["*"], versions = [{ version = 1 }] }\n',
        'tenant = "acme"\n[keys.release]\nclients = ["*"]\nversions = [{ version = 1 }]\n',
    ],
)
def test_a_key_in_another_form_is_left_to_the_operator(text: str) -> None:
    """Inline tables are not edited, and nothing is guessed."""
    with pytest.raises(EditRefused):
        change_versions(text, "release", {1: {"state": "retired"}})
