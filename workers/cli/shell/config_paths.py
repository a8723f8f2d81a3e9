"""Choice and kind of the file for ``--config``: a build host's client.toml, or the service's sigmill.toml."""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path
from typing import Final

from queueing.config.toml import read_toml
from queueing.errors import ConfigError

CLIENT_VARIABLE: Final = "SIGMILL_CLIENT_CONFIG"
SERVICE_VARIABLE: Final = "SIGMILL_CONFIG"
DEFAULT: Final = Path("/etc/sigmill/sigmill.toml")


class ConfigKind(Enum):
    """Kind of a configuration file."""

    CLIENT = "client.toml"
    SERVICE = "sigmill.toml"


def kind_of(file: Path) -> ConfigKind:
    """Kind of the file, told by its tables and keys; raises ``ConfigError`` if it is neither kind."""
    tables = read_toml(file)
    if "service" in tables:
        return ConfigKind.SERVICE
    if "client" in tables or "service_public_keys" in tables:
        return ConfigKind.CLIENT
    raise ConfigError(
        str(file),
        "",
        "is neither a client.toml nor a sigmill.toml",
        "Give a build host's client.toml (as its tenant), or the service's sigmill.toml (as an operator).",
    )


def chosen_config(given: Path | None, *, first: ConfigKind) -> Path:
    """The given file, else the one named by the environment (``first`` has precedence), else the service's default."""
    if given is not None:
        return given
    variables = [CLIENT_VARIABLE, SERVICE_VARIABLE]
    if first is ConfigKind.SERVICE:
        variables.reverse()
    return next((Path(found) for name in variables if (found := os.environ.get(name))), DEFAULT)
