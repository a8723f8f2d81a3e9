"""Mistakes in the service's file are named by file, key path and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.errors import ConfigError
from tests.support.fakes.config_files import CANARY_PIN, Site, key_of, p256_key, service_text, tenant_text
from workers.config.loading import load_configuration, load_scope
from workers.config.settings import PinLogin
from workers.config.validation import validate_all


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Files without a mistake."""
    return Site(tmp_path)


def test_files_without_a_mistake_are_one_configuration(site: Site) -> None:
    """The file is read as it is written, with file names made absolute from its folder."""
    configuration = load_configuration(site.write().config)

    service = configuration.service
    assert (service.audience, service.state_dir) == ("test", site.folder / "state")
    assert service.tokens["acme"].login == PinLogin(pin_file=str(site.folder / "pins" / "acme"))
    assert configuration.tenants["acme"].keys["release"].versions[0].tokens == ("acme",)
    assert configuration.tenants["acme"].epoch == 4


@pytest.mark.parametrize(
    "old, new, key, remedy",
    [
        ("[redis]", "[redys]", "redys", "Did you mean `redis`?"),
        ("audience", "audiense", "service.audiense", "Did you mean `audience`?"),
        ('audience = "test"', "audience = 3", "service.audience", "Write a value of the kind"),
        ('state_dir = "state"', "", "service.state_dir", "Add it."),
        ("{ label =", "{ labell =", "tokens.service.select.labell", "Did you mean `label`?"),
        ("{ label =", "{ slot = -1, label =", "tokens.service.select.slot", "in that range"),
        ('{ label = "service" }', "{}", "tokens.service.select", "Give `label`, `serial` or `slot`."),
        ('host = "localhost"', "", "redis", "exactly one of"),
        ('host = "localhost"', 'host = "h"\nunix_socket = "s"', "redis", "exactly one of"),
        ("[tokens.acme]", "[tokens.Acme]", "tokens.Acme", "Use 1 to 63 of a-z"),
        ('module = "/usr', 'module = "usr', "tokens.service.module", "full path"),
        ("[service_key]", "[metrics]", "service_key", "`sigmill keys create --service` creates"),
        ('token = "service"', 'token = "gone"', "service_key.token", "Add [tokens.gone]."),
        ('public_key = "', 'public_key = "?', "service_key.public_key", "on one line"),
        ("[tokens.acme]", "[tokens.acme]\nsessions = 0", "tokens.acme.sessions", "in that range"),
        ("[tokens.acme]", "[log]\nkeep_days = 0.01\n[tokens.acme]", "log.keep_days", "at least as long"),
        ("[tokens.acme]", "[worker]\nlease_s = 1.0\n[tokens.acme]", "worker.lease_s", "in that range"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_its_place_and_remedy(
    site: Site, old: str, new: str, key: str, remedy: str
) -> None:
    """One wrong line gives one error: the file, the path of the key in it, and what would be right."""
    site.service = site.service.replace(old, new, 1)

    mistake = site.mistake()

    assert mistake.file == str(site.config)
    assert mistake.key == key
    assert remedy in mistake.remedy


def test_a_number_out_of_range_is_shown(site: Site) -> None:
    """The value helps to find the line, and a number in a range is no secret."""
    site.service = site.service.replace("[tokens.acme]", "[tokens.acme]\nsessions = 4711", 1)

    assert "4711" in site.mistake().problem


@pytest.mark.parametrize(
    "login",
    [
        f'"{CANARY_PIN}"',
        f'{{ pin = "{CANARY_PIN}" }}',
        f'{{ pin_file = "p", pin = "{CANARY_PIN}" }}',
        f'["{CANARY_PIN}"]',
    ],
)
def test_a_pin_in_the_wrong_place_is_not_shown(site: Site, login: str) -> None:
    """An operator may write the PIN where its file belongs; the error must not repeat it."""
    site.service = site.service.replace('{ pin_file = "pins/acme" }', login)

    mistake = site.mistake()

    assert mistake.key.startswith("tokens.acme.login")
    assert CANARY_PIN not in f"{mistake} {mistake.problem} {mistake.remedy} {mistake!r}"


@pytest.mark.parametrize("variable", ["LD_PRELOAD", "LD_AUDIT", "PYTHONPATH"])
def test_a_token_does_not_change_the_lanes_interpreter(site: Site, variable: str) -> None:
    """The environment of a token is for its module."""
    line = f'environment = {{ {variable} = "x" }}\n'
    site.service = site.service.replace("[tokens.acme]\n", f"[tokens.acme]\n{line}")

    assert site.mistake().key == f"tokens.acme.environment.{variable}"


def test_one_token_under_two_names_is_refused(site: Site) -> None:
    """Two names for one token would let two tenants share a login."""
    site.service = site.service.replace('{ label = "globex" }', '{ label = "acme" }')

    mistake = site.mistake()

    assert (mistake.key, "tokens.acme" in mistake.problem) == ("tokens.globex", True)


@pytest.mark.parametrize(
    "select",
    [
        'label = "acme "',
        'label = "acme", slot = 3',
        'label = "acme", serial = "1234"',
        'slot = 9, label = "acme"',
    ],
)
def test_a_selection_within_another_is_the_same_token(site: Site, select: str) -> None:
    """Exactly one token has the label of the first table: whatever else the second one asks of it, it is that token."""
    site.service = site.service.replace('{ label = "globex" }', f"{{ {select} }}")
    assert "tokens.acme" in site.mistake().problem
    swapped = service_text().replace('{ label = "acme" }', f"{{ {select} }}")
    site.service = swapped.replace('{ label = "globex" }', '{ label = "acme" }')
    assert "tokens.acme" in site.mistake().problem


def test_a_module_is_known_by_its_real_path(site: Site) -> None:
    """A link to the module, or another spelling of its path, makes no other token."""
    (site.folder / "module.so").symlink_to("/usr/lib/softhsm/libsofthsm2.so")
    site.service = site.service.replace('{ label = "globex" }', '{ label = "acme" }')
    head, _, tail = site.service.rpartition("/usr/lib/softhsm/libsofthsm2.so")
    for other in (str(site.folder / "module.so"), "/usr/lib/softhsm/./libsofthsm2.so"):
        site.service = f"{head}{other}{tail}"
        assert "tokens.acme" in site.mistake().problem


def test_selections_that_may_differ_are_accepted(site: Site) -> None:
    """Only the token can tell: the worker compares what its lanes report."""
    site.service = site.service.replace('{ label = "globex" }', '{ serial = "acme", slot = 1 }')
    assert load_configuration(site.write().config).service.tokens.keys() == {"service", "acme", "globex"}


@pytest.mark.parametrize("tenant", ["globex", "acme"])
def test_a_public_key_belongs_to_one_tenant_and_key(site: Site, tenant: str) -> None:
    """The clients of a second tenant would sign with the key of the first; both files are named."""
    if tenant == "globex":
        site.tenants["globex"] = tenant_text("globex", key_of("acme"))
        other = site.tenant_file("acme")
    else:
        site.tenants["acme"] = tenant_text("acme", p256_key(99))
        other = site.config

    mistake = site.mistake()

    assert (mistake.file, mistake.key) == (
        str(site.tenant_file(tenant)),
        "keys.release.versions[0].public_key",
    )
    assert str(other) in mistake.problem
    assert [error.key for error in validate_all(site.config).errors if "public_key" in error.key] == [
        mistake.key
    ]


def test_a_token_serves_one_tenant(site: Site) -> None:
    """A token that two tenants name belongs to the first; the second is told whose it is."""
    site.tenants["globex"] = tenant_text("globex").replace('tokens = ["globex"]', 'tokens = ["acme"]')

    mistake = site.mistake()

    assert mistake.file == str(site.tenant_file("globex"))
    assert "belongs to acme" in mistake.problem


def test_the_services_token_serves_no_tenant(site: Site) -> None:
    """The service key has a token and a PIN of its own."""
    site.tenants["acme"] = site.tenants["acme"].replace('tokens = ["acme"]', 'tokens = ["service"]')

    assert "belongs to the service" in site.mistake().problem


@pytest.mark.parametrize(
    "content, problem",
    [(b"[service", "is not TOML"), (b"\xff\xfe", "is not UTF-8")],
)
def test_a_text_that_is_no_toml_is_refused_as_such(tmp_path: Path, content: bytes, problem: str) -> None:
    """The error names the file."""
    site = Site(tmp_path).write()
    site.config.write_bytes(content)

    with pytest.raises(ConfigError, match=problem) as caught:
        load_configuration(site.config)
    assert caught.value.file == str(site.config)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    """The error is one of the configuration, as for a mistake in the file."""
    with pytest.raises(ConfigError, match="does not exist"):
        load_configuration(tmp_path / "sigmill.toml")


def test_the_first_keys_need_no_service_key(site: Site) -> None:
    """The service key must be made before it can be entered: tokens are read without it."""
    head, _, rest = site.service.partition("[service_key]")
    site.service = head + rest[rest.index("[tokens") :]

    scope = load_scope(site.write().config)

    assert scope.service_token is None
    assert set(scope.tokens) == {"service", "acme", "globex"}
