"""The issuer's file (``issuer.toml``), read and checked: the issuer, its token, its HTTPS, its providers and authorities.

Front, lane and `sigmill issuer refresh` read the same file, each as its own user. Files that it names are read by the process
that uses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from queueing.config.secrets import secret_path
from queueing.config.toml import convert, read_toml
from queueing.errors import ConfigError
from queueing.files.regular_file import read_regular
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.certificates import read_certificates
from workers.config.service_file import required_table
from workers.config.settings import LoggingSettings, MetricsSettings
from workers.config.token_tables import read_tokens
from workers.config.values import ErrorList, expect_name, public_key, tables_below
from workers.https.certificate import TlsFiles
from workers.issuer.identity.certificates import Authority, shared_authority
from workers.issuer.identity.signed_token import Provider
from workers.issuer.settings import (
    CertificatesSettings,
    HttpSettings,
    IssuerSettings,
    ProviderSettings,
)

if TYPE_CHECKING:
    from queueing.protocol.public_keys import PublicKey
    from workers.config.settings import TokenSettings

TABLES: Final = {"issuer", "http", "tokens", "providers", "certificates", "logging", "metrics"}

MAX_PEM_BYTES: Final = 1024 * 1024
"""A bundle of all authorities of the web has 250 kB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerConfiguration:
    """Configuration of the issuer; all paths are absolute."""

    file: Path
    name: str
    audience: str
    token: str
    token_settings: TokenSettings
    public_key: PublicKey
    state_dir: Path
    keys_dir: Path
    tenants_dir: Path
    grant_ms: int
    max_digests: int
    socket: Path | None
    front_uid: int | None
    refresh_socket: Path | None
    http: HttpSettings
    providers: dict[str, ProviderSettings]
    certificates: dict[str, CertificatesSettings]
    logging: LoggingSettings
    metrics: MetricsSettings

    def tenant_file(self, tenant: str) -> Path:
        """Path of the tenant's file, which may not exist."""
        return self.tenants_dir / f"{tenant}.toml"

    def keys_file(self, provider: str) -> Path:
        """Path of the file of a provider's keys, which may not exist yet."""
        return self.keys_dir / f"{provider}.json"

    def path(self, name: str) -> Path:
        """Path of a file that the configuration names."""
        return self.file.parent / name

    def tls_files(self) -> TlsFiles:
        """Files of the front's TLS."""
        http = self.http
        return TlsFiles(
            certificate=self.path(http.certificate),
            private_key=Path(secret_path(self.file.parent, http.private_key)),
            client_ca=None if http.client_ca is None else self.path(http.client_ca),
            client_required=False,
            file=str(self.file),
            certificate_key="http.certificate",
            client_ca_key="http.client_ca",
        )

    def identity_providers(self) -> dict[str, Provider]:
        """The providers, as the verification of tokens takes them."""
        return {
            name: Provider(
                name=name,
                issuer_url=provider.issuer_url,
                algorithms=frozenset(provider.algorithms),
                max_token_s=provider.max_token_s,
            )
            for name, provider in self.providers.items()
        }

    def authorities(self) -> dict[str, Authority]:
        """The authorities of client certificates, read from their files. Raises ``ConfigError``, also where two have one in common."""
        found = {name: self._authority(name, settings) for name, settings in self.certificates.items()}
        shared = shared_authority(found.values())
        if shared is not None:
            raise ConfigError(
                str(self.file),
                f"certificates.{shared.second}.ca_file",
                f"has the authority {shared.subject:.200} of certificates.{shared.first}: an identity would have two names",
                "Keep one of the tables, or give each an authority of its own.",
            )
        return found

    def _authority(self, name: str, settings: CertificatesSettings) -> Authority:
        path = self.path(settings.ca_file)
        place = f"certificates.{name}.ca_file"
        try:
            certificates = read_certificates(read_regular(path, largest_bytes=MAX_PEM_BYTES))
        except OSError as error:
            raise ConfigError(
                str(self.file), place, f"cannot be read ({error.strerror})", f"Check {path}."
            ) from None
        except ValueError:
            raise ConfigError(
                str(self.file), place, "has no certificates in PEM", f"Put the authority's into {path}."
            ) from None
        if not any(c.issuer == c.subject for c in certificates):
            raise ConfigError(str(self.file), place, "has no root certificate", f"Add the root to {path}.")
        return Authority(name=name, roots=tuple(certificates), trust_domain=settings.trust_domain)


def load_issuer(file: Path) -> IssuerConfiguration:
    """Read the issuer's file. Raises ``ConfigError`` for the first error."""
    errors = ErrorList()
    configuration = read_issuer(file, errors)
    if configuration is None:
        raise errors.first()
    return configuration


def read_issuer(file: Path, errors: ErrorList) -> IssuerConfiguration | None:
    """Configuration of the issuer; None where a table is wrong, and then ``errors`` has the first error of each table."""
    file = file.resolve()
    tables = errors.collect(lambda: read_toml(file))
    return None if tables is None else issuer_of(file, tables, errors)


def issuer_of(file: Path, tables: dict[str, Any], errors: ErrorList) -> IssuerConfiguration | None:
    """Configuration of the issuer from the tables of ``file``, an absolute path; None where one is wrong, as for ``read_issuer``."""
    before = len(errors.all)
    errors.add_unknown(file, tables, TABLES)
    issuer = errors.collect(partial(_table, file, tables, "issuer", IssuerSettings))
    http = errors.collect(partial(_table, file, tables, "http", HttpSettings))
    tokens = read_tokens(file, tables, errors)
    providers = errors.collect_each(tables_below(file, tables, "providers", errors), partial(_provider, file))
    authorities = errors.collect_each(
        tables_below(file, tables, "certificates", errors), partial(_certificates, file)
    )
    logging = errors.collect(lambda: convert(file, "logging", tables.get("logging", {}), LoggingSettings))
    metrics = errors.collect(lambda: convert(file, "metrics", tables.get("metrics", {}), MetricsSettings))
    errors.collect(partial(_refuse_same_url, file, providers))
    key = None if issuer is None else errors.collect(partial(_issuer_key, file, issuer))
    if issuer is not None and issuer.token not in tokens and len(errors.all) == before:
        errors.all.append(
            ConfigError(str(file), "issuer.token", "no such token", f"Add [tokens.{issuer.token}].")
        )
    if http is not None and authorities and http.client_ca is None:
        errors.all.append(
            ConfigError(
                str(file),
                "http.client_ca",
                "is missing, and without it no client shows its certificate",
                "Name the PEM file of the authorities in [certificates.NAME].",
            )
        )
    if len(errors.all) > before or not (issuer and http and key and logging and metrics):
        return None
    folder = file.parent
    return IssuerConfiguration(
        file=file,
        name=issuer.name,
        audience=issuer.audience,
        token=issuer.token,
        token_settings=tokens[issuer.token],
        public_key=key,
        state_dir=folder / issuer.state_dir,
        keys_dir=folder / issuer.keys_dir,
        tenants_dir=folder / issuer.tenants_dir,
        grant_ms=int(issuer.grant_s * 1000),
        max_digests=issuer.max_digests,
        socket=None if issuer.socket is None else folder / issuer.socket,
        front_uid=issuer.front_uid,
        refresh_socket=None if issuer.refresh_socket is None else folder / issuer.refresh_socket,
        http=http,
        providers=providers,
        certificates=authorities,
        logging=logging,
        metrics=metrics,
    )


def _table(file: Path, tables: dict[str, Any], name: str, kind: type[Any]) -> Any:
    return convert(file, name, required_table(file, tables, name), kind)


def _provider(file: Path, name: str, table: object) -> ProviderSettings:
    path = f"providers.{expect_name(file, f'providers.{name}', name)}"
    provider = convert(file, path, table, ProviderSettings)
    for key, url in (("issuer_url", provider.issuer_url), ("jwks_url", provider.jwks_url)):
        if url is not None and not _is_address(url):
            raise ConfigError(
                str(file),
                f"{path}.{key}",
                "is no address",
                "Write https://HOST, with a port and a path if need be.",
            )
    return provider


def _is_address(url: str) -> bool:
    """Whether the URL has a host, and a port that there can be."""
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _certificates(file: Path, name: str, table: object) -> CertificatesSettings:
    path = f"certificates.{expect_name(file, f'certificates.{name}', name)}"
    return convert(file, path, table, CertificatesSettings)


def _refuse_same_url(file: Path, providers: dict[str, ProviderSettings]) -> None:
    """Refuse two providers of one ``iss``: which of their keys verify a token would be chance."""
    seen: dict[str, str] = {}
    for name, provider in providers.items():
        first = seen.setdefault(provider.issuer_url, name)
        if first != name:
            raise ConfigError(
                str(file),
                f"providers.{name}.issuer_url",
                f"is that of providers.{first}",
                "Keep one of them.",
            )


def _issuer_key(file: Path, issuer: IssuerSettings) -> PublicKey:
    key = public_key(file, "issuer.public_key", issuer.public_key)
    if key.kind is not KeyKind.P256:
        raise ConfigError(
            str(file),
            "issuer.public_key",
            f"is {key.kind}, and the issuer's lane signs grants by P-256",
            "Create a P-256 key in the token.",
        )
    return key


def load_tokens(file: Path, token: str) -> tuple[dict[str, TokenSettings], Path]:
    """Tokens of the issuer's file, with ``token`` among them, and its ``state_dir``: what the creation of its key needs.

    Raises ``ConfigError``.
    """
    file = file.resolve()
    tables, errors = read_toml(file), ErrorList()
    tokens = read_tokens(file, tables, errors)
    if errors.all:
        raise errors.first()
    if token not in tokens:
        raise ConfigError(str(file), f"tokens.{token}", "no such token", f"Add [tokens.{token}].")
    state_dir = required_table(file, tables, "issuer").get("state_dir")
    if not isinstance(state_dir, str):
        raise ConfigError(str(file), "issuer.state_dir", "is missing", "Add it.")
    return tokens, file.parent / state_dir
