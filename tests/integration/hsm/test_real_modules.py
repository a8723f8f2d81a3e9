"""Contract of keys over other real modules of Debian, where they are installed: ``make test-hsm`` installs them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from queueing.protocol.algorithms import KeyKind
from tests.integration.hsm.conftest import run_case
from tests.support.hsm.softhsm import SoftHsm
from tests.support.tools import first_existing

KINDS = (KeyKind.RSA_2048, KeyKind.P256, KeyKind.ED25519)
PROXY = tuple(f"/usr/lib/{machine}-linux-gnu/p11-kit-proxy.so" for machine in ("x86_64", "aarch64"))
SOFTOKEN = tuple(f"/usr/lib/{machine}-linux-gnu/libsoftokn3.so" for machine in ("x86_64", "aarch64"))


def installed(paths: tuple[str, ...]) -> Path:
    """Path of the module; without it the test is skipped, but not in ``make test-hsm``."""
    if not any(Path(path).exists() for path in paths) and not os.environ.get("SIGMILL_TEST_HSM"):
        pytest.skip(f"{paths[0]} is not installed; `make test-hsm` installs it")
    return first_existing(*paths)


def test_keys_behind_p11_kits_proxy_sign_in_one_session(tmp_path: Path) -> None:
    """It loads SoftHSM and other modules, and returns another function list at each call."""
    proxy = installed(PROXY)
    hsm = SoftHsm(tmp_path / "softhsm")
    token = hsm.init_token("proxied")
    labels = {str(kind): str(kind) for kind in KINDS}
    made = run_case(hsm, "create_keys", token=token.label, pin=token.pin, labels=labels)
    spkis = {label: made["records"][label]["spki"] for label in labels}
    result = run_case(
        hsm,
        "contract",
        path=str(proxy),
        token=token.label,
        pin=token.pin,
        spkis=spkis,
        label="fresh",
        threads=False,
    )
    assert result["listed"] == sorted(spkis.values())
    assert [each for each in result["adopted"].values() if each["error"]] == []
    assert {name: each for name, each in result["signed"].items() if each["error"]} == {}
    assert result["created"] == {"error": None}


def test_nss_softokn_is_refused_since_it_needs_an_argument_of_its_own(tmp_path: Path) -> None:
    """``LibraryParameters`` of NSS: no other application passes them; p11-kit does (``x-init-reserved``)."""
    softokn = installed(SOFTOKEN)
    result = run_case(SoftHsm(tmp_path / "softhsm"), "load_outcomes", first=str(softokn))
    assert result["first"]["name"] == "CKR_ARGUMENTS_BAD"
