"""The provider is added to a person's configuration of OpenSSL, of which nothing else is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.cli.tools.openssl_provider import OpenSslProvider
from workers.cli.tools.openssl_settings import OpenSslSettings

STOCK = "openssl_conf = i\n[i]\nproviders = p\nalg_section = a\n[p]\ndefault = d\n[d]\n"
ACTIVE = (
    "openssl_conf = i\n[i]\nproviders = p\n[p]\nlegacy = l\nfips = f\n[l]\nactivate = 1\n[f]\nactivate=1\n"
)


def made(folder: Path, before: str) -> OpenSslSettings:
    """The configuration as OpenSSL has it, from a person's own."""
    used = folder / "used.cnf"
    used.write_text(before)
    return lines_of(folder, {"OPENSSL_CONF": str(used)})


def lines_of(folder: Path, environment: dict[str, str]) -> OpenSslSettings:
    file = folder / "made.cnf"
    file.write_text("\n".join(OpenSslProvider("/ossl/pkcs11.so", "/m.so", environment).lines()))
    return OpenSslSettings(file, {})


def providers(found: OpenSslSettings) -> dict[str, dict[str, str]]:
    """Settings of the providers by name."""
    start = found.get("default", "openssl_conf")
    named = found.section(found.get(start or "", "providers") or "")
    return {name: dict(found.section(section)) for name, section in named.items()}


OURS = {"module": "/ossl/pkcs11.so", "pkcs11-module-path": "/m.so", "activate": "1"}


@pytest.mark.parametrize(
    "before, expected",
    [
        ("# nothing\n", {"default": {"activate": "1"}, "pkcs11": OURS}),
        ("", {"default": {"activate": "1"}, "pkcs11": OURS}),
        ("openssl_conf = i\n[i]\nx = y\n", {"default": {"activate": "1"}, "pkcs11": OURS}),
        (STOCK, {"default": {"activate": "1"}, "pkcs11": OURS}),
        (STOCK + "x = y\nactivate = 0\n", {"default": {"x": "y", "activate": "1"}, "pkcs11": OURS}),
        (ACTIVE, {"legacy": {"activate": "1"}, "fips": {"activate": "1"}, "pkcs11": OURS}),
        (
            STOCK + "[p]\npkcs11 = h\n[h]\nx = y\npkcs11-module-path = /hsm.so\n",
            {"default": {"activate": "1"}, "pkcs11": {"x": "y", **OURS}},
        ),
        (
            STOCK + "[p]\nhsm = h\n[h]\nmodule = /mine/pkcs11.so\n",
            {"default": {"activate": "1"}, "hsm": {**OURS, "module": "/mine/pkcs11.so"}},
        ),
    ],
    ids=["no section", "empty", "no providers", "stock", "default off", "chosen", "own pkcs11", "other name"],
)
def test_a_persons_providers_stay(before: str, expected: dict[str, dict[str, str]], tmp_path: Path) -> None:
    """OpenSSL's own is activated only where nothing else is: as OpenSSL itself does where no provider is loaded by name."""
    assert providers(made(tmp_path, before)) == expected


def test_a_persons_other_settings_stay(tmp_path: Path) -> None:
    """Settings of the section that OpenSSL starts with, which the configuration may have in a file that it includes."""
    (tmp_path / "more.cnf").write_text(STOCK)
    found = made(tmp_path, f".include {tmp_path}/more.cnf\n")
    assert found.get("i", "alg_section") == "a"
    assert set(providers(found)) == {"default", "pkcs11"}


@pytest.mark.parametrize("name", ["", "/dev/null", "/nowhere/openssl.cnf"])
def test_a_person_who_wants_no_configuration_gets_the_provider_alone(name: str, tmp_path: Path) -> None:
    """An empty OPENSSL_CONF is none for OpenSSL, and not its default one."""
    lines = OpenSslProvider("/ossl/pkcs11.so", "/m.so", {"OPENSSL_CONF": name}).lines()
    assert not any(line.startswith(".include") for line in lines)
    assert providers(lines_of(tmp_path, {"OPENSSL_CONF": name}))["pkcs11"] == OURS


def test_the_configuration_is_found_from_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command may change its folder: a relative name is made an absolute one; blanks in it are no end."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b.cnf").write_text(STOCK)
    lines = OpenSslProvider("/ossl/pkcs11.so", "/m.so", {"OPENSSL_CONF": "a b.cnf"}).lines()
    assert lines[0] == f'.include "{tmp_path}/a b.cnf"'


@pytest.mark.parametrize(
    "settings, told",
    [("pkcs11-module-path = /hsm.so", True), ("pkcs11-module-path = /m.so", False), ("activate = 1", False)],
)
def test_a_module_of_their_own_that_is_not_loaded_is_told(settings: str, told: bool, tmp_path: Path) -> None:
    """A provider loads one module: their HSM's keys are not found in this run."""
    used = tmp_path / "used.cnf"
    used.write_text(f"{STOCK}[p]\npkcs11 = h\n[h]\n{settings}\n")
    note = OpenSslProvider("/ossl/pkcs11.so", "/m.so", {"OPENSSL_CONF": str(used)}).note()
    assert (note is not None) is told
    assert note is None or "/hsm.so" in note
