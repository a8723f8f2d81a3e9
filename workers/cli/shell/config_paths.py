"""Whose file ``--config`` is: a build host's client.toml, or the service's sigmill.toml."""

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
    """By what stands in it."""

    CLIENT = "client.toml"
    SERVICE = "sigmill.toml"


def kind_of(file: Path) -> ConfigKind:
    """By its tables: a client's file names its client and the service's keys, the service's has [service]."""
    tables = read_toml(file)
    if "service" in tables:
        return ConfigKind.SERVICE
    if "client" in tables or "service_public_keys" in tables:
        return ConfigKind.CLIENT
    raise ConfigError(
        str(file),
        "",
        "is neither a client.toml nor a sigmill.toml",
        "Give a build host's client.toml to ask as its tenant, or the service's sigmill.toml to ask as its operator.",
    )


def chosen_config(given: Path | None, *, first: ConfigKind) -> Path:
    """The file: what was given, or what the environment names, ``first`` before the other; else the service's own."""
    if given is not None:
        return given
    variables = [CLIENT_VARIABLE, SERVICE_VARIABLE]
    if first is ConfigKind.SERVICE:
        variables.reverse()
    return next((Path(found) for name in variables if (found := os.environ.get(name))), DEFAULT)
