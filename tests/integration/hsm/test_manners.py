"""Contract of keys over the manners of other modules: what a module does otherwise is served, or refused in a sentence."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from queueing.protocol.algorithms import KeyKind
from queueing.protocol.public_keys import PublicKey
from tests.integration.hsm.conftest import Result, run_case
from tests.support.hsm.manners import SERVED, Manners
from tests.support.hsm.softhsm import SoftHsm, SoftToken
from workers.config.settings import PinLogin, SelectSettings, TokenSettings
from workers.token_admin.client import TokenAdmin

KINDS = (KeyKind.RSA_2048, KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.ED25519)

ONE_THREAD = {"no-locking", "several-lists"}
"""Modules that do not promise to bear several threads."""

REFUSED = {
    "always": (KINDS, "CKA_ALWAYS_AUTHENTICATE is true, so the token wants the PIN again for each signature"),
    "hash-mechanisms": (KINDS, "CKA_ALLOWED_MECHANISMS does not have CKM_"),
    "explicit-curve": (KINDS[1:], "CKA_EC_PARAMS are explicit curve parameters, and only named curves"),
}
"""Manners that are not supported: the keys that have them, and what is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedToken:
    """Token with a key of each kind, by label."""

    hsm: SoftHsm
    token: SoftToken
    spkis: dict[str, str]
    neighbours: list[SoftToken] = field(default_factory=list)

    def contract(self, manners: Manners) -> Result:
        """Outcome of all that is done with keys, behind these manners."""
        return run_case(
            self.hsm,
            "contract",
            path=str(manners.module),
            environment=manners.environment(),
            token=self.token.label,
            pin=self.token.pin,
            spkis=self.spkis,
            label="fresh",
            threads=ONE_THREAD.isdisjoint(manners.names),
        )

    def admin(self, manners: Manners, folder: Path) -> TokenAdmin:
        """Requests of an operator to the token behind these manners."""
        pin_file = folder / "pin"
        pin_file.write_text(self.token.pin)
        pin_file.chmod(0o600)
        settings = TokenSettings(
            module=str(self.hsm.module_path),
            select=SelectSettings(label=self.token.label),
            login=PinLogin(pin_file=str(pin_file)),
            environment=self.hsm.env,
        )
        return TokenAdmin("acme", manners.in_front_of(settings), folder)

    def manners(self, *names: str) -> Manners:
        """Manners in front of SoftHSM."""
        return Manners(names=names, real_module=self.hsm.module_path)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> KeyedToken:
    hsm = SoftHsm(tmp_path_factory.mktemp("manners") / "softhsm")
    token = hsm.init_token("manners")
    labels = {str(kind): str(kind) for kind in KINDS}
    made = run_case(hsm, "create_keys", token=token.label, pin=token.pin, labels=labels)
    spkis = {label: made["records"][label]["spki"] for label in labels}
    return KeyedToken(hsm=hsm, token=token, spkis=spkis)


@pytest.mark.parametrize("names", SERVED, ids=lambda names: "+".join(names) or "none")
def test_keys_are_listed_adopted_found_created_and_sign(keyed: KeyedToken, names: tuple[str, ...]) -> None:
    result = keyed.contract(keyed.manners(*names))
    assert result["listed"] == sorted(keyed.spkis.values())
    assert [each for each in result["adopted"].values() if each["error"]] == []
    assert {name: each for name, each in result["signed"].items() if each["error"]} == {}
    assert result["created"] == {"error": None}


def test_a_label_that_is_not_utf8_harms_no_key(keyed: KeyedToken) -> None:
    result = keyed.contract(keyed.manners("key-label"))
    assert result["listed"] == sorted(keyed.spkis.values())
    assert {name: each for name, each in result["signed"].items() if each["error"]} == {}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_supported_is_refused_in_a_sentence_by_adoption_use_and_doctor(
    keyed: KeyedToken, tmp_path: Path, name: str
) -> None:
    kinds, sentence = REFUSED[name]
    result = keyed.contract(keyed.manners(name))
    for kind in KINDS:
        adopted = result["adopted"][kind]
        assert (sentence in adopted.get("text", "")) == (kind in kinds), adopted
        signed = [each for label, each in result["signed"].items() if label.split()[0] == kind]
        if kind not in kinds:
            assert [each for each in signed if each["error"]] == []
        elif name != "explicit-curve":  # such a key is not found at all: adoption says why
            assert all(each["error"] == "KeyRefused" and sentence in each["text"] for each in signed)
    report = keyed.admin(keyed.manners(name), tmp_path).examine(
        [bytes.fromhex(keyed.spkis[kind]) for kind in kinds], [], log_in=True
    )
    assert report.problem == ""
    assert all(found.code for found in report.keys)
    if name != "explicit-curve":
        assert all(sentence in found.problem for found in report.keys)


@pytest.mark.parametrize("names", SERVED, ids=lambda names: "+".join(names) or "none")
def test_doctor_finds_the_keys(keyed: KeyedToken, tmp_path: Path, names: tuple[str, ...]) -> None:
    spkis = [bytes.fromhex(spki) for spki in keyed.spkis.values()]
    algorithms = sorted({a for spki in spkis for a in PublicKey.from_spki(spki).algorithms})
    report = keyed.admin(keyed.manners(*names), tmp_path).examine(spkis, algorithms, log_in=True)
    assert (report.problem, report.unable) == ("", ())
    assert [found.problem for found in report.keys] == [""] * len(spkis)


@pytest.mark.parametrize("names", [("slow-slot",), ("sick-slot=0x30",), ("sick-slot=0x32",)])
def test_a_sick_or_slow_neighbour_keeps_no_key_from_signing(
    keyed: KeyedToken, names: tuple[str, ...]
) -> None:
    if not keyed.neighbours:
        keyed.neighbours.append(keyed.hsm.init_token("neighbour"))
    manners = Manners(names=names, real_module=keyed.hsm.module_path, neighbour="neighbour")
    result = keyed.contract(manners)
    assert {name: each for name, each in result["signed"].items() if each["error"]} == {}


def test_a_module_is_initialised_once_in_a_process(keyed: KeyedToken, tmp_path: Path) -> None:
    log = tmp_path / "calls"
    manners = Manners(names=(), real_module=keyed.hsm.module_path, log=log)
    keyed.contract(manners)
    assert (manners.calls("C_Initialize"), manners.calls("C_Finalize"), manners.calls("C_Login")) == (1, 0, 1)
