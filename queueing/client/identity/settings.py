"""Tables ``identity`` and ``issuer`` of client.toml."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import replace

from queueing.config.paths import absolute
from queueing.errors import ConfigError
from queueing.protocol.grants.grant import MAX_KEYS
from queueing.protocol.names import Name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Platform = Literal["github", "gitlab", "azure", "jenkins", "kubernetes", "file", "command", "spiffe"]

_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "github": ("audience",),
    "gitlab": ("variable",),
    "azure": (),
    "jenkins": ("variable", "file"),
    "kubernetes": ("file",),
    "file": ("file",),
    "command": ("command",),
    "spiffe": ("file", "certificate_file"),
}
"""Keys of which a platform needs one."""

_TAKES: Final[Mapping[str, str]] = {
    "github": "audience",
    "gitlab": "variable",
    "azure": "service_connection",
    "jenkins": "variable file",
    "kubernetes": "file",
    "file": "file",
    "command": "command",
    "spiffe": "file",
}
"""Sources of a token that a platform has, among ``_SOURCES``."""

_SOURCES: Final = ("audience", "variable", "file", "command", "service_connection")

_Path = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class IdentitySettings(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"platform": "from"}
):
    """``identity``: where the build's token comes from. It is read again for each grant.

    ``audience``: the ``aud`` to ask GitHub for. ``variable``: environment variable with the token (GitLab, Jenkins). ``file``: file
    with the token. ``command``: prints the token within ``command_timeout_s``. ``service_connection``: of Azure DevOps.
    ``certificate_file``, ``private_key_file``: certificate that is the identity itself, in PEM (SPIFFE). ``keys``: those to ask for;
    none is all that the identity may use. ``key_file``: keeps the ephemeral key for further processes of the same build, where the
    platform gives one token for all of it. ``bound``: GitHub's token names the ephemeral key, so that it serves no other.
    """

    platform: Platform
    audience: Annotated[str, msgspec.Meta(min_length=1, max_length=500)] | None = None
    variable: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}\Z")] | None = None
    file: _Path | None = None
    command: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=4096)], ...], msgspec.Meta(max_length=64)
    ] = ()
    command_timeout_s: Annotated[float, msgspec.Meta(gt=0, le=300)] = 30.0
    service_connection: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]{1,64}\Z")] | None = None
    certificate_file: _Path | None = None
    private_key_file: _Path | None = None
    keys: Annotated[tuple[Name, ...], msgspec.Meta(max_length=MAX_KEYS)] = ()
    bound: bool = False
    key_file: _Path | None = None

    def checked(self, file: str) -> IdentitySettings:
        """Check and return the settings; raises ``ConfigError`` where something is missing for the platform."""
        needs = _NEEDS[self.platform]
        if needs and not any(getattr(self, name) for name in needs):
            wanted = " or ".join(f"`{name}`" for name in needs)
            raise ConfigError(
                file, "identity", f"{wanted} is missing", f'`from = "{self.platform}"` needs it.'
            )
        for name in _SOURCES:
            if getattr(self, name) and name not in _TAKES[self.platform].split():
                problem = f'is none of `from = "{self.platform}"`, and would be ignored'
                raise ConfigError(file, f"identity.{name}", problem, "Remove it, or correct `from`.")
        if self.variable and self.file:
            problem = "`variable` and `file` are two sources of the token"
            raise ConfigError(file, "identity", problem, "Name the one that the build has.")
        if self.command and not self.command[0]:
            raise ConfigError(file, "identity.command[0]", "is empty", "Name the program to run.")
        if self.bound and self.platform != "github":
            problem = f"is not possible for {self.platform}, whose tokens have a given audience"
            raise ConfigError(file, "identity.bound", problem, "Remove it.")
        if (self.certificate_file is None) != (self.private_key_file is None):
            problem = "`certificate_file` and `private_key_file` are one pair"
            raise ConfigError(file, "identity", problem, "Name both, or neither.")
        return self

    def relative_to(self, base: Path) -> IdentitySettings:
        """Copy of the settings with absolute paths."""
        return replace(
            self,
            file=_absolute(base, self.file),
            certificate_file=_absolute(base, self.certificate_file),
            private_key_file=_absolute(base, self.private_key_file),
            key_file=_absolute(base, self.key_file),
        )


class IssuerSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``issuer``: address of the issuer of grants; plain HTTP on the loopback only. ``ca_file``: authorities of its TLS
    certificate, in PEM, instead of the system's. ``timeout_s``: for one request.
    """

    url: Annotated[str, msgspec.Meta(max_length=2048)]
    ca_file: _Path | None = None
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=300)] = 15.0

    @property
    def has_tls(self) -> bool:
        """Whether the address is one of HTTPS; schemes have no case (RFC 3986 3.1)."""
        return urlsplit(self.url).scheme == "https"

    def checked(self, file: str, identity: IdentitySettings) -> IssuerSettings:
        """Check and return the settings; raises ``ConfigError`` for an address that is none, or would send tokens in the clear.

        So it does for plain HTTP beside a certificate of ``identity`` or authorities: without TLS neither is shown nor asked.
        """
        problem = "has a query, which has no place in requests" if "?" in self.url else url_problem(self.url)
        if problem is not None:
            raise ConfigError(file, "issuer.url", problem, "Write https://HOST[:PORT].")
        unused = (
            "identity.certificate_file"
            if identity.certificate_file
            else "issuer.ca_file"
            if self.ca_file
            else ""
        )
        if unused and not self.has_tls:
            problem = f"is plain HTTP, over which `{unused}` is of no use"
            raise ConfigError(
                file, "issuer.url", problem, f"Write https://HOST[:PORT], or remove `{unused}`."
            )
        return self

    def relative_to(self, base: Path) -> IssuerSettings:
        """Copy of the settings with absolute paths."""
        return replace(self, ca_file=_absolute(base, self.ca_file))


def url_problem(url: str) -> str | None:
    """Reason for which tokens are not sent to this address; None for a good one."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no address"
    if not host or not url.isascii() or not url.isprintable() or " " in url or parts.fragment:
        return "is no address"
    if parts.username is not None:
        return "has a name or password, which is not sent"
    if parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(host)):
        return None
    return "is not https: a token would go in the clear"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _absolute(base: Path, path: str | None) -> str | None:
    return None if path is None else absolute(base, path)
