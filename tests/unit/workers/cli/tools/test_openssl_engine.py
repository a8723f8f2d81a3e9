"""The engine pkcs11 finds the agent, also where a person's configuration names another module."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.cli.tools.openssl_engine import OpenSslEngine
from workers.cli.tools.openssl_settings import OpenSslSettings

HEAD = "openssl_conf = i\n[i]\nengines = e\n[e]\n"


def engine(folder: Path, before: str) -> OpenSslEngine:
    used = folder / "used.cnf"
    used.write_text(before)
    return OpenSslEngine("/m.so", {"OPENSSL_CONF": str(used)})


@pytest.mark.parametrize(
    "section",
    [
        "pkcs11 = p\n[p]\nMODULE_PATH = /hsm.so\ninit = 0",
        "mine = p\n[p]\nengine_id = pkcs11\nMODULE_PATH = /hsm.so\ninit = 1",
        "mine = p\n[p]\nengine_id = mine\ndynamic_path = /usr/lib/engines-3/libpkcs11.so\nMODULE_PATH = /hsm.so",
        "1.pkcs11 = p\n[p]\n0.MODULE_PATH = /hsm.so\nPIN = 12#4",
    ],
    ids=["name", "id", "library", "numbered"],
)
def test_a_module_of_their_own_is_replaced_in_its_place(section: str, tmp_path: Path) -> None:
    """All commands of the section are given again in their order: OpenSSL runs them so, and the module must come before `init`."""
    made = engine(tmp_path, HEAD + section)
    used = OpenSslSettings(tmp_path / "used.cnf", {}).section("p")
    file = tmp_path / "made.cnf"
    file.write_text("\n".join(made.lines()))
    found = OpenSslSettings(file, {}).section("p")
    assert list(found) == list(used)
    assert dict(found) == {name: "/m.so" if value == "/hsm.so" else value for name, value in used.items()}
    assert "/hsm.so" in (made.note() or "")


@pytest.mark.parametrize(
    "before",
    [
        "",
        "openssl_conf = i\n",
        HEAD,
        HEAD + "pkcs11 = p\n",
        HEAD + "pkcs11 = p\n[p]\ninit = 0\n",
        HEAD + "pkcs11 = p\n[p]\nMODULE_PATH = /m.so\n",
        HEAD + "gost = p\n[p]\nMODULE_PATH = /gost.so\n",
        HEAD + "pkcs11 = p\n[p]\nengine_id = other\nMODULE_PATH = /other.so\n",
        "[e]\npkcs11 = p\n[p]\nMODULE_PATH = /hsm.so\n",
    ],
    ids=[
        "empty",
        "no start",
        "no engine",
        "no section",
        "no module",
        "ours",
        "another engine",
        "another id",
        "not used",
    ],
)
def test_what_does_not_lead_elsewhere_stays(before: str, tmp_path: Path) -> None:
    """Nothing is added, and nothing told."""
    made = engine(tmp_path, before)
    assert (made.lines(), made.note()) == ([], None)
