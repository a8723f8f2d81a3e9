"""Kind of the file given to --config, and the file that is used without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.errors import ConfigError
from workers.cli.shell.config_paths import DEFAULT, ConfigKind, chosen_config, kind_of


def test_a_file_is_known_by_its_tables(tmp_path: Path) -> None:
    """Its content decides, not its name; a file of neither kind is a mistake that names both kinds."""
    file = tmp_path / "any.toml"
    file.write_text('[service]\naudience = "x"\n')
    assert kind_of(file) is ConfigKind.SERVICE
    file.write_text('tenant = "acme"\nclient = "ci"\n')
    assert kind_of(file) is ConfigKind.CLIENT
    file.write_text('tenant = "acme"\n[clients.ci]\n')
    with pytest.raises(ConfigError, match="neither") as caught:
        kind_of(file)
    assert "sigmill.toml" in caught.value.remedy
    assert "client.toml" in caught.value.remedy


def test_the_environment_names_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The preferred kind has precedence in the environment; a given file has precedence over both."""
    for name in ("SIGMILL_CLIENT_CONFIG", "SIGMILL_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    assert chosen_config(None, first=ConfigKind.CLIENT) == DEFAULT
    monkeypatch.setenv("SIGMILL_CONFIG", "/s")
    assert chosen_config(None, first=ConfigKind.CLIENT) == Path("/s")
    monkeypatch.setenv("SIGMILL_CLIENT_CONFIG", "/c")
    assert chosen_config(None, first=ConfigKind.CLIENT) == Path("/c")
    assert chosen_config(None, first=ConfigKind.SERVICE) == Path("/s")
    assert chosen_config(Path("/g"), first=ConfigKind.SERVICE) == Path("/g")
