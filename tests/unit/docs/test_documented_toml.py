"""Tests of the TOML blocks on the pages: each is a valid configuration."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queueing.client.config import ClientConfig
from queueing.config.toml import convert
from queueing.protocol.algorithms import KeyKind
from queueing.protocol.public_keys import placeholder_key
from tests.support.fakes.config_files import client_line, p256_key, spki_text
from workers.config.issuers.identities import read_identities
from workers.config.issuers.issuers import read_issuer
from workers.config.issuers.tables import IdentitySettings
from workers.config.service_file import service_of
from workers.config.tenant_file import tenant_of
from workers.config.values import ErrorList
from workers.issuer.issuer_file import issuer_of
from workers.relay.settings import RelaySettings

ROOT = Path(__file__).parents[3]
PAGES = sorted({ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("ops/**/*.md")})
BLOCK = re.compile(r"^( *)```toml\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
COMMENTED = re.compile(
    r"^# (?!certificates|chains)(?=[a-z_]+ = |\[)", re.MULTILINE
)  # a certificate is a file beside it

RSA = placeholder_key(KeyKind.RSA_3072)
PASTED = {  # what the pages abbreviate: the beginnings of keys as operators see them
    r"MFkwEwYH…": spki_text(p256_key(1)),
    r"MCowBQYD…": client_line(),
    r"MIIBojAN…": spki_text(RSA),
    r"5f2c…": RSA.sha256.hex(),
    r"9f3c…": "9f3c" * 8,
}


def blocks() -> Iterator[tuple[str, str]]:
    """Page and text of each block, with complete keys instead of the abbreviated ones."""
    for page in PAGES:
        for indent, body in BLOCK.findall(page.read_text()):
            text = re.sub(f"^{indent}", "", body, flags=re.MULTILINE)
            for short, whole in PASTED.items():
                text = text.replace(short, whole)
            yield str(page.relative_to(ROOT)), text


CASES = list(blocks())
IDS = [f"{page}-{text.split(maxsplit=1)[0]}" for page, text in CASES]


def check(text: str) -> str:
    """Read the block as the kind of file that it is, and return the kind."""
    tables: dict[str, Any] = tomllib.loads(text)
    file = ROOT / "docs" / "example.toml"
    if "private_key_file" in tables or "identity" in tables:
        config = convert(file, "", tables, ClientConfig)
        config.pinned_keys()
        config.check_identity(str(file))
        return "client"
    if "tls" in tables:
        convert(file, "", tables, RelaySettings)
        return "relay"
    if "tenant" in tables:
        tenant_of(file.with_name(f"{tables['tenant']}.toml"), tables, service_of(file, service()).tokens)
        return "tenant"
    if "issuers" in tables:
        for name, table in tables["issuers"].items():
            read_issuer(file, name, table)
        for name, table in tables["keys"].items():
            given = tuple(convert(file, "", each, IdentitySettings) for each in table["identities"])
            assert read_identities(file, name, given, tuple(table["issuers"]))
        return "identities"
    if "issuer" in tables:
        errors = ErrorList()
        assert issuer_of(file, tables, errors) is not None, errors.all
        return "issuer"
    service_of(file, {**service(), **tables})
    return "service"


def service() -> dict[str, Any]:
    """Minimal service file, to which fragments are added."""
    token = {"module": "/usr/lib/vendor.so", "select": {"label": "sigmill"}, "login": "none"}
    return {
        "service": {"audience": "prod/eu-west", "state_dir": "/var/lib/sigmill"},
        "redis": {"host": "queue.example"},
        "service_key": {"token": "service", "public_key": spki_text(p256_key(1))},
        "tokens": {"service": token, "acme": {**token, "select": {"label": "acme"}}},
    }


@pytest.mark.parametrize("page, text", CASES, ids=IDS)
def test_a_block_is_a_configuration_without_a_mistake(page: str, text: str) -> None:
    """The code that reads such files accepts the block, with complete keys for the abbreviated ones."""
    check(text)


PLACES = (r'^(?:host = "queue|port = 6379).*\n', r"^sentinel = .*\n", r"^cluster = .*\n")
"""Lines that say where Redis is: of them the code takes one."""


@pytest.mark.parametrize(
    "page, text", [c for c in CASES if COMMENTED.search(c[1])], ids=lambda value: str(value)[:30]
)
def test_a_block_with_its_comments_is_a_configuration_without_a_mistake(page: str, text: str) -> None:
    """The block is still valid when its commented lines are uncommented."""
    offered = COMMENTED.sub("", text)
    places = [place for place in PLACES if re.search(place, offered, re.MULTILINE)]
    for place in places[1:]:  # each of them instead of a host
        others = "|".join(other for other in places if other != place)
        check(re.sub(others, "", offered, flags=re.MULTILINE))
    if len(places) <= 1:
        check(offered)


def test_each_kind_of_file_is_documented() -> None:
    assert {check(text) for _, text in CASES} == {
        "client",
        "identities",
        "issuer",
        "relay",
        "service",
        "tenant",
    }
