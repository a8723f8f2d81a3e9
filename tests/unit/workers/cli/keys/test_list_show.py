"""Exit codes of keys list and show, by what was found in the tokens."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from workers.cli.keys.key_locations import CertificateEnd, KeyLocation
from workers.cli.keys.list_show import _exit, _found, _until
from workers.cli.shell.output import Exit

LOCATION = KeyLocation(
    tenant="acme",
    key="release",
    version=1,
    state="active",
    token="acme",
    kind="P256",
    found=True,
    label="acme.release.v1",
    public_key="",
    public_key_sha256="",
    attributes={},
)


@pytest.mark.parametrize(
    "state, found, code",
    [
        ("active", True, Exit.DONE),
        ("active", False, Exit.FAILED),
        ("active", None, Exit.RETRY),
        ("next", False, Exit.FAILED),
        ("verify-only", False, Exit.DONE),
        (None, True, Exit.DONE),
    ],
)
def test_exit_codes(state: str | None, found: bool | None, code: Exit) -> None:
    """A missing active or next version gives 1, a token that could not be queried 75; others are not required."""
    assert _exit([LOCATION, msgspec.structs.replace(LOCATION, state=state, found=found)]) is code


@pytest.mark.parametrize(
    "changes, text",
    [({}, "yes"), ({"found": False}, "NO"), ({"found": None}, "unknown"), ({"key": None}, "not pinned")],
)
def test_the_found_column(changes: dict[str, bool | None], text: str) -> None:
    """A key is found, missing, of unknown state, or in the token without being pinned."""
    assert _found(msgspec.structs.replace(LOCATION, **changes)) == text


def test_each_certificate_is_shown_with_its_end() -> None:
    """Those of named authorities by their name; no certificate is a dash of the table."""
    ends = (
        CertificateEnd(name="other", issuer="CN=Other", ends=datetime(2027, 1, 1, tzinfo=UTC)),
        CertificateEnd(name="", issuer="CN=First", ends=datetime(2027, 6, 1, tzinfo=UTC)),
    )
    both = msgspec.structs.replace(LOCATION, certificates=ends)

    assert _until(both) == "other until 2027-01-01; until 2027-06-01"
    assert _until(LOCATION) is None
