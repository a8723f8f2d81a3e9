"""How to reach Redis, as it stands in a configuration file. Apart from the connection: a lane reads it, and needs none."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec.structs import replace


class TlsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TLS to Redis; the server's name is always checked against its certificate."""

    ca_file: str
    cert_file: str | None = None
    key_file: str | None = None


class SentinelConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sentinels as ``host:port``, and the name under which they know the primary."""

    nodes: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    primary: str
    username: str | None = None
    password_file: str | None = None


class RedisConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to reach Redis. Exactly one of ``unix_socket``, ``host`` and ``sentinel`` decides where."""

    host: str | None = None
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 6379
    unix_socket: str | None = None
    database: Annotated[int, msgspec.Meta(ge=0)] = 0
    username: str | None = None
    password_file: str | None = None
    tls: TlsConfig | None = None
    sentinel: SentinelConfig | None = None

    def places(self) -> int:
        """How many places are named; one is right."""
        return sum(place is not None for place in (self.host, self.unix_socket, self.sentinel))

    def relative_to(self, folder: Path) -> RedisConfig:
        """The same, with its file names taken from ``folder`` where they are relative."""

        def path(name: str | None) -> str | None:
            return None if name is None else str(folder / name)

        tls, sentinel = self.tls, self.sentinel
        if tls is not None:
            ca_file = str(folder / tls.ca_file)
            tls = replace(tls, ca_file=ca_file, cert_file=path(tls.cert_file), key_file=path(tls.key_file))
        if sentinel is not None:
            sentinel = replace(sentinel, password_file=path(sentinel.password_file))
        places = {"unix_socket": path(self.unix_socket), "password_file": path(self.password_file)}
        return replace(self, tls=tls, sentinel=sentinel, **places)
