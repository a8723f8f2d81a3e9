"""Session of a benchmark: what it makes ready before anything is measured."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench import session


def test_packages_are_compiled_as_an_installation_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each command of a checkout compiles them, and that is measured."""
    module = tmp_path / "below" / "module.py"
    module.parent.mkdir()
    module.write_text("x = 1\n")
    for name in ("queueing", "workers"):
        monkeypatch.setattr(session, name, SimpleNamespace(__path__=[str(tmp_path)]))
    session.compile_packages()
    assert Path(importlib.util.cache_from_source(str(module))).is_file()
