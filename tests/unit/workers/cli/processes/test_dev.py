"""`sigmill dev` without the extras: it says what to install for a relay and an issuer."""

from __future__ import annotations

import importlib.util

import pytest

from workers.cli.processes import dev


@pytest.mark.parametrize("missing", ["aiohttp", "jwt", None])
def test_an_extra_that_is_not_installed_is_told(
    missing: str | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A message names the extras; stdout is for the lines to paste."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else object())
    assert dev._edge_is_installed() is (missing is None)
    printed = capsys.readouterr()
    assert not printed.out
    assert ("pip install 'sigmill[edge,issuer]'" in printed.err) is (missing is not None)
