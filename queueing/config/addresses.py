"""Hosts with ports: an IPv6 address is in brackets there, as in a URL (RFC 3986, section 3.2.2), and bare elsewhere."""

from __future__ import annotations

from queueing.errors import ConfigError


def bare_host(text: str) -> str:
    """The host as the resolver takes it: without the brackets of an IPv6 address."""
    inner = text.removeprefix("[").removesuffix("]")
    return inner if ":" in inner and len(inner) == len(text) - 2 else text


def with_port(host: str, port: int) -> str:
    """``host:port``, or ``[address]:port``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_port(file: str, key: str, text: str) -> tuple[str, int]:
    """Host and port of ``host:port``; raises ``ConfigError`` where there is no port."""
    host, _, port = text.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) <= 65535):
        raise ConfigError(
            file, key, f"`{text}` has no port", "Write it as host:port, and an IPv6 address as [::1]:port."
        )
    return bare_host(host), int(port)
