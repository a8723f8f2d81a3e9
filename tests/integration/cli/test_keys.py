"""``sigmill keys`` on real tokens: keys are created inside, and keys that were ever outside are refused."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from tests.support.disk.disks import fill, small_disk
from tests.support.fakes.key_sites import events_of, logins_of
from tests.support.sigmill_cli import Ran, sigmill, with_defaults
from tests.support.tools import tool
from workers.config.loading import load_configuration, load_scope
from workers.token_admin.login_records import user_name

if TYPE_CHECKING:
    from tests.integration.cli.conftest import OperatorSite

KINDS = {
    "rsa-3072": "RSASSA_PKCS1_V1_5_SHA_256",
    "p256": "ECDSA_SHA_256",
    "p384": "ECDSA_SHA_384",
    "p521": "ECDSA_SHA_512",
    "ed25519": "ED25519",
}


def create(
    site: OperatorSite,
    *more: str,
    key: str = "release",
    kind: str = "p256",
    token: str = "acme",  # noqa: S107
) -> Ran:
    """``keys create`` for acme without a statement, in JSON: the service key of the site is in no token."""
    options = {"--tenant": "acme", "--key": key, "--token": token, "--type": kind}
    return sigmill(
        "keys", "create", *with_defaults(options, *more), "--no-origin", "--json", config=site.config
    )


def adopt(site: OperatorSite, *more: str) -> Ran:
    """``keys adopt`` for acme, in JSON."""
    words = ["keys", "adopt", "--tenant", "acme", "--key", "release", "--token", "acme", "--json"]
    return sigmill(*words, *more, config=site.config)


def vendor_tool(site: OperatorSite, *words: str) -> None:
    """Run pkcs11-tool, as an example of a vendor's tool."""
    login = ["--token-label", "acme", "--login", "--pin", site.tokens["acme"].pin]
    command = [tool("pkcs11-tool"), "--module", str(site.softhsm.module_path), *login, *words]
    subprocess.run(command, env=site.softhsm.environ(), check=True, capture_output=True)


def import_key(site: OperatorSite, folder: Path, label: str) -> None:
    """Import a key that was made outside, with SoftHSM's own tool."""
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    (folder / "outside.pem").write_bytes(pem)
    command = [tool("softhsm2-util"), "--import", str(folder / "outside.pem"), "--token", "acme"]
    command += ["--label", label, "--id", "77", "--pin", site.tokens["acme"].pin]
    subprocess.run(command, env=site.softhsm.environ(), check=True, capture_output=True)


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_key_is_made_inside_and_entered(operator_site: OperatorSite, kind: str) -> None:
    """--write gives a valid tenant's file with the public key, its fingerprint and the usual algorithm."""
    ran = create(operator_site, "--write", kind=kind)

    assert ran.code == 0, ran.err
    made = ran.json()[0]
    assert made["label"] == "acme.release.v1"
    spki = base64.b64decode(made["public_key"])
    assert made["public_key_sha256"] == hashlib.sha256(spki).hexdigest()
    pem = load_pem_public_key(made["public_key_pem"].encode())
    assert pem.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == spki
    key = load_configuration(operator_site.config).tenants["acme"].keys["release"]
    assert (key.versions[0].public_key.spki, key.default_algorithm) == (spki, KINDS[kind])


def test_a_key_cannot_leave_and_only_signs(operator_site: OperatorSite) -> None:
    """The token shows the attributes that the CSBR requires."""
    attributes = create(operator_site).json()[0]["attributes"]

    assert attributes == {
        "CKA_SIGN": True,
        "CKA_SENSITIVE": True,
        "CKA_EXTRACTABLE": False,
        "CKA_ALWAYS_SENSITIVE": True,
        "CKA_NEVER_EXTRACTABLE": True,
        "CKA_LOCAL": True,
    }


def test_what_is_printed_can_be_pasted(operator_site: OperatorSite) -> None:
    """Without --write the file is unchanged, and the printed block is what --write would have added."""
    made = create(operator_site).json()[0]
    file = operator_site.tenant_file()
    assert made["written"] is None
    assert not file.exists()

    file.write_text(f'tenant = "acme"\n\n{made["toml"]}')

    version = load_configuration(operator_site.config).tenants["acme"].keys["release"].versions[0]
    assert version.public_key.sha256.hex() == made["public_key_sha256"]


def test_the_next_version_waits(operator_site: OperatorSite) -> None:
    """A second key is version 2 in state `next`, which signs nothing, and the epoch grows."""
    create(operator_site, "--write")

    ran = create(operator_site, "--write")

    assert ran.code == 0, ran.err
    tenant = load_configuration(operator_site.config).tenants["acme"]
    assert [(v.version, v.state) for v in tenant.keys["release"].versions] == [(1, "active"), (2, "next")]
    assert tenant.epoch == 2


def test_two_operators_at_once_make_one_version(operator_site: OperatorSite) -> None:
    """The others end with the reason; no key is left that no file names."""
    create(operator_site, "--write")
    words = [
        "keys",
        "rotate",
        "--tenant",
        "acme",
        "--key",
        "release",
        "--no-request",
        "--no-origin",
        "--json",
    ]

    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda _: sigmill(*words, config=operator_site.config), range(3)))

    assert sorted(ran.code == 0 for ran in runs) == [False, False, True]
    for ran in runs:
        if ran.code:
            assert "now" in ran.error()["message"] or "waiting already" in ran.error()["message"]
    listed = sigmill("keys", "list", "--json", config=operator_site.config).json()
    assert [(x["key"], x["version"]) for x in listed] == [("release", 1), ("release", 2)]


def test_a_label_is_used_once(operator_site: OperatorSite) -> None:
    """A label that exists in the token is refused."""
    create(operator_site)

    ran = create(operator_site)

    assert (ran.code, ran.error()["code"]) == (77, "key.disabled")
    assert "exists in the token already" in ran.error()["message"]


@pytest.mark.parametrize(
    "more, problem",
    [
        (["--type", "rsa-2048"], "too small for code signing"),
        (["--algorithm", "ED25519"], "does not fit"),
        (["--token", "service"], "belongs to the service"),
        (["--token", "gone"], "no token `gone`"),
        (["--key", "Release"], "is not a name"),
        (["--label", "two\nlines"], "1 to 255 printable"),
        (["--label", "x" * 256], "1 to 255 printable"),
    ],
)  # fmt: skip
def test_nothing_is_made_that_the_configuration_would_refuse(
    operator_site: OperatorSite, more: list[str], problem: str
) -> None:
    """The configuration is checked first, so that no unusable key is left in the token."""
    ran = create(operator_site, "--write", *more)

    assert ran.code == 2
    assert problem in ran.error()["message"]
    after = create(operator_site, "--write")
    assert after.json()[0]["label"] == "acme.release.v1"
    assert len(sigmill("keys", "list", "--json", config=operator_site.config).json()) == 1


def test_a_vendors_key_is_adopted(operator_site: OperatorSite) -> None:
    """A key that another tool generated in the token, and that may not leave it, is adopted."""
    vendor_tool(
        operator_site, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "theirs", "--id", "0a",
        "--usage-sign", "--sensitive",
    )  # fmt: skip

    ran = adopt(operator_site, "--label", "theirs", "--write")

    assert ran.code == 0, ran.err
    assert ran.json()[0]["key_id"] == "0a"
    assert [event.event for event in events_of(load_scope(operator_site.config))] == ["adopted"]
    assert "sigmill keys origin create --tenant acme --key release/1" in ran.err
    assert adopt(operator_site, "--id", "0A").code == 2  # it is pinned already
    listed = sigmill("keys", "list", "--json", config=operator_site.config).json()
    assert [(x["key"], x["found"], x["label"]) for x in listed] == [("release", True, "theirs")]


def test_an_imported_key_is_refused(operator_site: OperatorSite, tmp_path: Path) -> None:
    import_key(operator_site, tmp_path, "outside")

    ran = adopt(operator_site, "--label", "outside", "--write")

    assert (ran.code, ran.error()["code"]) == (77, "key.disabled")
    assert "CKA_LOCAL is not true" in ran.error()["message"]
    assert not operator_site.tenant_file().exists()


def test_an_extractable_key_is_refused(operator_site: OperatorSite) -> None:
    vendor_tool(
        operator_site, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "loose", "--id", "0b",
        "--usage-sign", "--extractable",
    )  # fmt: skip

    ran = adopt(operator_site, "--label", "loose")

    assert (ran.code, ran.error()["code"]) == (77, "key.disabled")
    assert "CKA_EXTRACTABLE is not false" in ran.error()["message"]


@pytest.mark.parametrize("count", [0, 2])
def test_a_key_that_is_not_found_exactly_once_is_refused(operator_site: OperatorSite, count: int) -> None:
    """No match, or several, is an error: the command does not guess."""
    for number in range(count):
        vendor_tool(
            operator_site, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "twin",
            "--id", f"0{number}", "--usage-sign",
        )  # fmt: skip

    ran = adopt(operator_site, "--label", "twin")

    assert ran.code == 77
    assert f"{count} private keys match" in ran.error()["message"]


def test_there_is_no_import() -> None:
    assert sigmill("keys", "import").code == 2


def test_list_compares_with_the_token(operator_site: OperatorSite) -> None:
    """A pinned key that the token lacks is a failure; a key that no version pins is listed."""
    create(operator_site, "--write")
    create(operator_site, key="stray")
    text = operator_site.tenant_file().read_text()
    gone = create(operator_site, key="gone", kind="p384").json()[0]
    operator_site.tenant_file().write_text(f"{text}\n{gone['toml']}")
    vendor_tool(operator_site, "--delete-object", "--type", "privkey", "--label", "acme.gone.v1")

    ran = sigmill("keys", "list", "--json", config=operator_site.config)

    found = {(line["key"], line["label"]): line for line in ran.json()}
    assert found["release", "acme.release.v1"]["found"] is True
    assert found[None, "acme.stray.v1"]["state"] is None
    assert found["gone", None]["found"] is False
    assert found["gone", None]["error"]["code"] == "token.unavailable"
    assert ran.code == 1


def test_show_prints_what_a_person_needs(operator_site: OperatorSite) -> None:
    """keys show prints state, algorithms, attributes and the lines to pin."""
    made = create(operator_site, "--write").json()[0]

    ran = sigmill("keys", "show", "release/1", config=operator_site.config)

    assert ran.code == 0
    assert made["public_key_pem"] in ran.out
    assert f'public_key_sha256 = "{made["public_key_sha256"]}"' in ran.out
    assert "ECDSA_SHA_256" in ran.out


@pytest.mark.parametrize("name", ["nothing", "release/7"])
def test_show_of_what_is_not_there_says_so(operator_site: OperatorSite, name: str) -> None:
    """An unknown key ends with its error code."""
    create(operator_site, "--write")

    ran = sigmill("keys", "show", name, "--json", config=operator_site.config)

    assert ran.error()["code"] == "key.unknown"


def test_a_dry_run_makes_no_key(operator_site: OperatorSite) -> None:
    """The difference is shown with `…` for the public key; no file changes, and no key is in the token."""
    ran = create(operator_site, "--dry-run")
    (line,) = ran.json()
    assert ran.code == 0
    assert (line["label"], line["version"]) == ("acme.release.v1", 1)
    assert '+public_key = "…"' in line["difference"]
    assert not operator_site.tenant_file().exists()
    create(operator_site, "--write")
    text = operator_site.tenant_file().read_text()

    rotated = sigmill(
        "keys", "rotate", "--tenant", "acme", "--key", "release", "--no-request", "--no-origin", "--dry-run",
        "--json", config=operator_site.config,
    )  # fmt: skip

    assert '+state = "next"' in rotated.json()[0]["difference"], rotated.out + rotated.err
    assert operator_site.tenant_file().read_text() == text
    assert len(sigmill("keys", "list", "--json", config=operator_site.config).json()) == 1


def test_without_a_service_key_one_sentence_says_that_there_is_no_statement(
    operator_site: OperatorSite,
) -> None:
    """The key is made; the sentence names what makes the statement later. --no-origin needs no sentence."""
    text = operator_site.config.read_text()
    head, _, rest = text.partition("[service_key]")
    operator_site.config.write_text(head + rest[rest.index("[tokens") :])
    words = ["keys", "create", "--tenant", "acme", "--token", "acme", "--type", "p256", "--write"]

    ran = sigmill(*words, "--key", "release", config=operator_site.config)
    silent = sigmill(*words, "--key", "driver", "--no-origin", config=operator_site.config)

    assert (ran.code, silent.code) == (0, 0), ran.err + silent.err
    assert "no origin statement was made: there is no service key yet" in ran.err
    assert "sigmill keys origin create --tenant acme --key release/1" in ran.err
    assert "statement" not in silent.err


def test_the_service_key_is_made_before_there_is_one(operator_site: OperatorSite) -> None:
    """keys create --service works before the configuration has a [service_key]; of an Ed25519 key it says what openssl cannot do."""
    text = operator_site.config.read_text()
    head, _, rest = text.partition("[service_key]")
    operator_site.config.write_text(head + rest[rest.index("[tokens") :])

    words = ("keys", "create", "--service", "--token", "service", "--json", "--type")

    preview = sigmill(*words, "ed25519", "--dry-run", config=operator_site.config)
    ran = sigmill(*words, "p256", config=operator_site.config)

    assert preview.code == 0, preview.out
    assert "warning: OpenSSL before 3.5 verifies no CMS by an ED25519 key" in preview.err
    assert ran.code == 0, ran.err
    assert "OpenSSL" not in ran.err
    operator_site.config.write_text(operator_site.config.read_text() + ran.json()[0]["toml"])
    assert load_configuration(operator_site.config).service.service_key.token == "service"


def test_a_wrong_pin_is_tried_once(operator_site: OperatorSite) -> None:
    """A refused PIN is not tried again until the operator resumes the token, for a few tries lock it."""
    operator_site.pin_file().write_text("wrong\n")

    first, second = create(operator_site), create(operator_site)

    assert "CKR_PIN_INCORRECT" in first.error()["message"]
    assert "refused this PIN before" in second.error()["message"]
    assert first.code == second.code == 75
    tokens = {
        line["token"]: line
        for line in sigmill("tokens", "list", "--json", config=operator_site.config).json()
    }
    assert [tokens[name]["pin_refused"] for name in ("acme", "globex")] == [True, False]
    resumed = sigmill("tokens", "resume", "acme", "--json", config=operator_site.config)
    assert (resumed.code, resumed.json()[0]["untold"]["code"]) == (75, "queue.unavailable"), (
        "there is no Redis here"
    )
    operator_site.pin_file().write_text(f"{operator_site.tokens['acme'].pin}\n")
    assert create(operator_site).code == 0
    logins = logins_of(load_scope(operator_site.config))
    assert [login.outcome for login in logins] == ["CKR_PIN_INCORRECT", "PIN_REFUSED_BEFORE", "accepted"]
    assert {(login.tenant, login.token, login.by) for login in logins} == {
        ("acme", "acme", f"command of {user_name()}")
    }


def test_no_pin_is_tried_on_a_full_disk(operator_site: OperatorSite) -> None:
    """On a full disk no PIN is tried, because a refusal could not be recorded."""
    operator_site.pin_file().write_text("wrong\n")
    state = operator_site.config.parent / "state"
    shutil.rmtree(state, ignore_errors=True)
    with small_disk(state, 64 * 1024):
        filler = fill(state)

        untried = create(operator_site)
        filler.unlink()
        tried, again = create(operator_site), create(operator_site)

    assert "PIN_MEMORY_UNUSABLE" in untried.error()["message"]
    assert "CKR_PIN_INCORRECT" in tried.error()["message"]
    assert "refused this PIN before" in again.error()["message"]
    assert untried.code == 75


def test_no_command_shows_the_pin(operator_site: OperatorSite) -> None:
    """No output and no written file contains the PIN."""
    pin = operator_site.tokens["acme"].pin
    ran = [
        create(operator_site, "--write"),
        sigmill("keys", "list", config=operator_site.config),
        sigmill("keys", "show", "release", config=operator_site.config),
        sigmill("tokens", "list", config=operator_site.config),
        sigmill("check-config", config=operator_site.config),
    ]

    assert all(pin not in f"{each.out}{each.err}" for each in ran)
    assert pin not in operator_site.tenant_file().read_text()
