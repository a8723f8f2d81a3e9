"""Keys in other real modules of Debian: what each can do is done, what it cannot do is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.protocol.algorithms import FACTS, KeyKind
from tests.integration.hsm.other_modules import (
    OtherModule,
    behind_p11_kit,
    installed,
    of_softhsm,
    opencryptoki,
    p11_kit_server,
    pkcs11_proxy,
    softokn_database,
    tpm2,
)
from tests.integration.hsm.survey import Surveyed
from tests.support.hsm.softhsm import SoftHsm
from tests.support.ports import free_port

pytestmark = pytest.mark.other_modules

RSA = [KeyKind.RSA_2048, KeyKind.RSA_3072]
EC = [KeyKind.P256, KeyKind.P384, KeyKind.P521]
ED25519 = KeyKind.ED25519
ALL = [*RSA, *EC, ED25519]
NOT_CREATED = "the token creates no {} key that signs and does nothing else ({}); "


def works(found: Surveyed, *labels: str) -> None:
    """These keys, and no others, are created or adopted, listed, seen by the doctor, and sign by all their algorithms."""
    assert {label: error for label, error in found.adopted.items() if error} == {}
    assert found.refused_signatures == {}
    assert sorted(found.listed) == sorted(found.adopted) == sorted(labels)
    assert (found.doctor_problem, found.doctor_keys) == ("", {})


def not_created(found: Surveyed) -> dict[str, str]:
    return {kind: error for kind, error in found.created.items() if error}


def test_softhsm_behind_p11_kits_proxy_does_everything_in_one_session_per_lane(
    softhsm: SoftHsm, tmp_path: Path
) -> None:
    """p11-kit's proxy returns another function list at each call, so threads are not allowed."""
    token = softhsm.init_token("proxied")
    with behind_p11_kit(
        tmp_path, f"module: {softhsm.module_path}", token=token.label, pin=token.pin, environment=softhsm.env
    ) as module:
        found = module.survey(tmp_path, ALL)
    works(found, *ALL)
    assert not_created(found) == {}
    assert (found.threads, found.unlisted, found.doctor_unable) == (False, [], [])


@pytest.mark.parametrize("by", ["p11-kit", "environment"])
def test_nss_softokn_keeps_no_record_of_where_a_key_was_made_and_its_keys_are_refused(
    tmp_path: Path, by: str
) -> None:
    """CKA_LOCAL is never true. Its parameters come from p11-kit, or since NSS 3.9x from the environment."""
    softokn = installed("*-linux-gnu/libsoftokn3.so")
    parameters = softokn_database(tmp_path)
    token = "NSS Certificate DB"
    if by == "environment":
        if b"NSS_LIB_PARAMS" not in softokn.read_bytes():
            pytest.skip("this version of NSS takes no parameters from the environment")
        direct = OtherModule(path=softokn, token=token, environment={"NSS_LIB_PARAMS": parameters})
        found = direct.survey(tmp_path, ALL)
    else:
        lines = f"module: {softokn}", f"x-init-reserved: {parameters}"
        with behind_p11_kit(tmp_path, *lines, token=token) as module:
            found = module.survey(tmp_path, ALL)
    refused = {kind: found.created[kind] for kind in [*RSA, *EC]}
    assert refused == dict.fromkeys(refused, "the key may not be used: CKA_LOCAL is not true")
    assert found.created[ED25519].startswith(NOT_CREATED.format(ED25519, "CKR_")[:-3])
    assert found.listed == [], "what was made and refused is destroyed"
    assert found.doctor_problem == ""


def test_the_software_token_of_opencryptoki_signs_with_threads_and_says_which_keys_it_does_not_create(
    tmp_path: Path,
) -> None:
    """No Ed25519, and before version 3.2x no elliptic curves."""
    with opencryptoki() as module:
        found = module.survey(tmp_path, ALL)
    refused = not_created(found)
    works(found, *(kind for kind in ALL if kind not in refused))
    assert found.threads
    assert set(refused) in ({ED25519}, {*EC, ED25519})
    for kind, error in refused.items():
        assert error.startswith(NOT_CREATED.format(kind, "CKR_MECHANISM_INVALID"))
    assert {kind for algorithm in found.unlisted for kind in FACTS[algorithm].key_kinds} == set(refused)


def test_keys_that_a_tool_created_in_a_tpm_are_adopted_and_sign(tmp_path: Path) -> None:
    """tpm2-pkcs11 fails to create a key that may do nothing but sign. It lists no PSS, and signs with it; its P-521 points
    have a wrong length, and it does not sign with such keys (CKR_HOST_MEMORY).
    """
    with tpm2(tmp_path) as module:
        for number, kind in enumerate(("rsa:2048", "EC:prime256v1", "EC:secp384r1", "EC:secp521r1"), 1):
            module.vendor_key(kind, kind, f"{number:02x}")
        adopt = ["rsa:2048", "EC:prime256v1", "EC:secp384r1"]
        found = module.survey(tmp_path, [KeyKind.P256, ED25519], [*adopt, "EC:secp521r1"])
    assert found.adopted.pop("EC:secp521r1") == "the key's CKA_EC_POINT is no point of its curve"
    works(found, *adopt)
    assert found.threads
    assert found.created[KeyKind.P256].startswith(
        "CKR_GENERAL_ERROR: while the token created the key; if that"
    )
    assert found.created[ED25519].startswith(NOT_CREATED.format(ED25519, "CKR_MECHANISM_INVALID"))
    assert all("PSS" in algorithm for algorithm in found.doctor_unable)


def test_softhsm_behind_p11_kits_server_does_everything_but_ed25519(softhsm: SoftHsm, tmp_path: Path) -> None:
    """Its protocol has no Edwards curves: a key that is there is neither created nor adopted."""
    token = softhsm.init_token("served")
    softhsm.generate_key(token, "edwards", "EC:edwards25519")
    with p11_kit_server(of_softhsm(softhsm, token), tmp_path / "server") as module:
        found = module.survey(tmp_path, ALL, ["edwards"])
    without_edwards(found)
    assert not found.threads


def test_softhsm_behind_pkcs11_proxy_does_everything_but_ed25519(softhsm: SoftHsm, tmp_path: Path) -> None:
    """With threads: the client has one connection, and waits its turn."""
    token = softhsm.init_token("remote")
    softhsm.generate_key(token, "edwards", "EC:edwards25519")
    with pkcs11_proxy(of_softhsm(softhsm, token), free_port()) as module:
        found = module.survey(tmp_path, ALL, ["edwards"])
    without_edwards(found)
    assert found.threads


def without_edwards(found: Surveyed) -> None:
    assert not_created(found).keys() == {ED25519}
    assert found.created[ED25519].startswith(NOT_CREATED.format(ED25519, "CKR_MECHANISM_INVALID"))
    refused = found.adopted.pop("edwards")
    assert refused == "the token does not list CKM_EDDSA, so a ED25519 key in it cannot sign digests"
    found.listed.remove("edwards")
    works(found, *RSA, *EC)
