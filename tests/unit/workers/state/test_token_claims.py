"""Claims of tokens by lanes: one owner at a time, for as long as its process lives."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from workers.state.token_claims import TokenProperties, TokenTaken, claim_token

TOKEN = TokenProperties("SoftHSM project", "SoftHSM v2", "0123456789abcdef", "acme", 7)
MODULE = "/usr/lib/softhsm/libsofthsm2.so"
IDENTITY = TOKEN.identity(MODULE)


def in_a_process(state_dir: Path, *, table: str, owner: str) -> bool:
    """Whether another process, which ends at once, can claim the token."""
    child = os.fork()
    if child == 0:
        try:
            claim_token(state_dir, IDENTITY, table=table, owner=owner)
        except TokenTaken:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def test_a_token_is_of_one_owner_while_a_lane_lives(tmp_path: Path) -> None:
    """Another lane of the owner may use it, also under another table; a lane of another owner may not."""
    claim_token(tmp_path, IDENTITY, table="acme", owner="acme")
    assert in_a_process(tmp_path, table="acme", owner="acme")
    assert in_a_process(tmp_path, table="acme-2", owner="acme")
    assert not in_a_process(tmp_path, table="globex", owner="globex")
    with pytest.raises(TokenTaken) as taken:
        claim_token(tmp_path, IDENTITY, table="service", owner="the service")
    assert taken.value.holder == "tokens.acme of acme"


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    """A configuration that gives the token to another owner needs no clean-up."""
    assert in_a_process(tmp_path, table="acme", owner="acme")
    assert in_a_process(tmp_path, table="globex", owner="globex")
    claim_token(tmp_path, IDENTITY, table="service", owner="the service")


def test_a_shorter_claim_leaves_nothing_of_the_one_before(tmp_path: Path) -> None:
    """The name of the owner is all that is behind `of`, for the next lanes of this owner and of others."""
    assert in_a_process(tmp_path, table="a-long-table", owner="an-owner-with-a-long-name")
    claim_token(tmp_path, IDENTITY, table="a", owner="b")
    assert in_a_process(tmp_path, table="c", owner="b")
    with pytest.raises(TokenTaken) as taken:
        claim_token(tmp_path, IDENTITY, table="d", owner="e")
    assert taken.value.holder == "tokens.a of b"


def test_a_link_in_the_place_of_a_claim_is_not_followed(tmp_path: Path) -> None:
    """A lane that runs as root overwrites no file that the owner of the folder cannot."""
    target = tmp_path / "target"
    target.write_text("another's file")
    (tmp_path / "tokens-in-use").mkdir()
    (tmp_path / "tokens-in-use" / IDENTITY).symlink_to(target)
    claim_token(tmp_path, IDENTITY, table="acme", owner="acme")
    assert target.read_text() == "another's file"


def test_nothing_is_claimed_where_nothing_can_be(tmp_path: Path) -> None:
    """A lane whose user may not write the folder starts without a claim."""
    (tmp_path / "file").write_text("")
    claim_token(tmp_path / "file" / "state", IDENTITY, table="acme", owner="acme")


def test_a_disk_that_takes_no_claim_leaves_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next lane of this token claims it as soon as the disk has room."""

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        claim_token(tmp_path, IDENTITY, table="acme", owner="acme")
    assert in_a_process(tmp_path, table="globex", owner="globex")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_claim_by_root_belongs_to_the_owner_of_the_state_directory(tmp_path: Path) -> None:
    """Else the service's user could not open it, and would claim nothing."""
    os.chown(tmp_path, 12345, 12345)
    claim_token(tmp_path, IDENTITY, table="acme", owner="acme")
    facts = (tmp_path / "tokens-in-use" / IDENTITY).stat()
    assert (facts.st_uid, facts.st_gid) == (12345, 12345)


def test_an_identity_has_all_that_a_token_says_of_itself() -> None:
    """The border between two values counts; the module and the slot in which it was found do not."""
    one, other = TokenProperties("a", "b", "c", "d", 1), TokenProperties("ab", "", "c", "d", 1)
    assert one.identity(MODULE) != other.identity(MODULE)
    assert TOKEN.identity("/other.so") == replace(TOKEN, slot=8).identity(MODULE) == IDENTITY
    assert len(IDENTITY) == 32


def test_a_token_without_a_serial_number_is_its_slot(tmp_path: Path) -> None:
    """Of this module, by whatever path: other tokens may say the same of themselves."""
    nameless = replace(TOKEN, serial=" ")
    module = tmp_path / "module.so"
    module.touch()
    (tmp_path / "link.so").symlink_to(module)
    assert nameless.identity(str(module)) == nameless.identity(str(tmp_path / "link.so"))
    assert nameless.identity(str(module)) != replace(nameless, slot=8).identity(str(module))
    assert nameless.identity(str(module)) != nameless.identity(MODULE)


@pytest.mark.parametrize(
    "select, matches",
    [
        ({}, True),
        ({"slot": 7, "label": "acme  ", "serial": "0123456789abcdef"}, True),
        ({"slot": 8}, False),
        ({"label": "acm"}, False),
        ({"serial": "0123456789abcdef", "label": "globex"}, False),
    ],
)
def test_a_selection_matches_if_all_that_it_gives_does(select: dict[str, Any], matches: bool) -> None:
    """Padding is not compared."""
    assert TOKEN.matches(**select) is matches
