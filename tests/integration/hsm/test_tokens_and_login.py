"""Loading, choosing and logging in, on a real module."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.hsm.conftest import Keys, run_case
from tests.support.hsm.softhsm import SoftHsm


def test_a_process_loads_one_module_once(softhsm: SoftHsm) -> None:
    result = run_case(softhsm, "load_outcomes", first=str(softhsm.module_path))
    assert result["first"]["error"] is None
    assert result["second"]["error"] == "ModuleAlreadyLoaded"


def test_a_path_without_a_module_is_a_failure_and_the_process_is_spent(
    softhsm: SoftHsm, tmp_path: Path
) -> None:
    no_library = tmp_path / "not-a-library.so"
    no_library.write_text("text")
    for path in (tmp_path / "missing.so", no_library):
        result = run_case(softhsm, "load_outcomes", first=str(path))
        assert result["first"]["name"] == "CKR_LIBRARY_LOAD_FAILED"
        assert result["second"]["error"] == "ModuleAlreadyLoaded"


def test_a_token_is_chosen_by_label_slot_or_serial_and_must_be_the_only_one(softhsm: SoftHsm) -> None:
    tokens = [softhsm.init_token(label) for label in ("twin", "twin", "single")]
    assert run_case(softhsm, "select", label="single")["ended"]["error"] is None
    assert run_case(softhsm, "select", label="twin", slot=tokens[0].slot)["ended"]["error"] is None
    both = run_case(softhsm, "select", label="twin")["ended"]
    none = run_case(softhsm, "select", label="nothing")["ended"]
    assert both["text"].startswith("2 tokens match label='twin'")
    assert none["text"].startswith("0 tokens match label='nothing'")
    assert both["text"].count("'twin'") == 3
    assert "label 'single', serial '" in none["text"]
    serial = none["text"].rsplit("label 'single', serial '", 1)[1].split("'", 1)[0]
    assert run_case(softhsm, "select", serial=serial)["ended"]["error"] is None


def test_a_wrong_pin_is_marked_and_not_shown(keys: Keys) -> None:
    ended = keys.run("wrong_pin")["ended"]
    assert (ended["name"], ended["action"], ended["pin"]) == ("CKR_PIN_INCORRECT", "open_circuit", True)
    assert keys.token.pin not in ended["text"]


@pytest.mark.parametrize("label", ["P256", "RSA_2048"])
def test_a_key_that_vanished_with_the_login_is_an_infrastructure_fault(keys: Keys, label: str) -> None:
    """Fact 4: the module reports that the key is not there; the tenant must get a retryable error."""
    ended = keys.run("lost_login", spki=keys.spki(label))["ended"]
    assert ended["error"] == "KeyMissing"
    assert "0 times" in ended["text"]
