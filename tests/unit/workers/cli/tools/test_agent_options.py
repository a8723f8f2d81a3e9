"""Files for keys are named as KEY=FILE, and read before anything begins."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from queueing.agent.openpgp.packets import PUBLIC_KEY, packet, rsa_key
from queueing.errors import ConfigError
from workers.cli.tools.agent_options import KeyFileOption, pgp_certificates


def test_a_file_belongs_to_a_key() -> None:
    """Only the first `=` separates: paths may have more."""
    assert KeyFileOption().convert("release=a=b.pem", None, None) == ("release", Path("a=b.pem"))


@pytest.mark.parametrize(
    "text", ["", "release", "release=", "=a.pem", "../release=a.pem", "re lease=a.pem", "a\n=b"]
)
def test_what_names_no_key_or_file_is_wrong_usage(text: str) -> None:
    """A key's name becomes a file's name: it can be nothing else than a name."""
    with pytest.raises(click.UsageError):
        KeyFileOption().convert(text, None, None)


def test_openpgp_certificates_are_read_at_the_start(tmp_path: Path) -> None:
    """A missing file, and one that is something else, are mistakes of configuration."""
    good = packet(PUBLIC_KEY, rsa_key(5, b"\xff" * 256, b"\x03").body)
    (tmp_path / "good").write_bytes(good)
    (tmp_path / "bad").write_bytes(b"notes")
    assert pgp_certificates([("release", tmp_path / "good")]) == {"release": good}
    for name, problem in (("bad", "no OpenPGP certificate"), ("missing", "cannot be read")):
        with pytest.raises(ConfigError, match=problem):
            pgp_certificates([("release", tmp_path / name)])
