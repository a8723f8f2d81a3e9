"""The rules of a key: who, when, how much. What is not allowed is denied, and the rule is named."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from queueing.errors import ConfigError, PolicyDenied
from tests.support.fakes.config_files import tenant_text
from workers.config.key_policy import Budget, KeyPolicy, Window
from workers.config.tenant_file import load_tenant

MON_8_TO_18 = Window(days=frozenset({0}), start_s=8 * 3600, end_s=18 * 3600)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def policy(folder: Path, lines: str) -> KeyPolicy:
    """The policy of a key with these lines in place of `clients`."""
    file = folder / "acme.toml"
    file.write_text(tenant_text().replace('clients = ["*"]', lines))
    return load_tenant(file, ("acme",)).keys["release"].policy


def mistake(folder: Path, lines: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        policy(folder, lines)
    return caught.value


@pytest.mark.parametrize(
    "moment, inside",
    [
        ("2026-03-02T07:59:59", False),
        ("2026-03-02T08:00:00", True),
        ("2026-03-02T17:59:59", True),
        ("2026-03-02T18:00:00", False),
        ("2026-03-03T12:00:00", False),
        ("2026-03-09T12:00:00", True),
    ],
)
def test_a_window_is_open_from_its_first_second_until_before_its_last(moment: str, inside: bool) -> None:
    """2026-03-02 is a Monday. Times are UTC."""
    assert MON_8_TO_18.contains(ms(moment)) is inside


@pytest.mark.parametrize(
    "moment, inside",
    [
        ("2026-03-06T21:59:59", False),  # a Friday
        ("2026-03-06T22:00:00", True),
        ("2026-03-07T00:00:00", True),
        ("2026-03-07T05:59:59", True),
        ("2026-03-07T06:00:00", False),
        ("2026-03-07T23:00:00", False),
        ("2026-03-06T03:00:00", False),  # of the night from Thursday
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins(moment: str, inside: bool) -> None:
    """Friday from 22:00 until 06:00 ends on Saturday, and does not begin in the night before."""
    assert Window(days=frozenset({4}), start_s=22 * 3600, end_s=6 * 3600).contains(ms(moment)) is inside


@pytest.mark.parametrize(
    "moment, inside",
    [
        ("2026-01-12T06:59:59", False),  # Berlin is at UTC+1
        ("2026-01-12T07:00:00", True),
        ("2026-01-12T16:59:59", True),
        ("2026-01-12T17:00:00", False),
        ("2026-07-13T05:59:59", False),  # and at UTC+2
        ("2026-07-13T06:00:00", True),
        ("2026-07-13T16:00:00", False),
    ],
)
def test_a_window_follows_the_clocks_of_its_zone(tmp_path: Path, moment: str, inside: bool) -> None:
    """From 8 to 18 o'clock there, in summer as in winter."""
    lines = 'windows = [{ days = ["mon"], from = 08:00:00, until = 18:00:00, zone = "Europe/Berlin" }]'
    (window,) = policy(tmp_path, f'clients = ["*"]\n{lines}').windows
    assert window.contains(ms(moment)) is inside
    assert str(window) == "mon 08:00-18:00 Europe/Berlin"


def test_a_rule_that_fails_is_named() -> None:
    """The client learns which rule, and what it allows."""
    rules = KeyPolicy(clients=frozenset({"ci"}), windows=(MON_8_TO_18,))
    monday, sunday = ms("2026-03-02T09:00:00"), ms("2026-03-01T09:00:00")
    rules.check("ci", monday)
    with pytest.raises(PolicyDenied, match="rule `clients`"):
        rules.check("other", monday)
    with pytest.raises(PolicyDenied, match=r"rule `windows`: the key signs only mon 08:00-18:00 UTC"):
        rules.check("ci", sunday)


def test_no_rule_is_no_right() -> None:
    """A policy that names no clients denies each of them."""
    with pytest.raises(PolicyDenied):
        KeyPolicy().check("ci", 0)


def test_a_key_says_who_may_use_it(tmp_path: Path) -> None:
    """A key without `clients` is a mistake; `*` is every client, an empty list is none."""
    found = mistake(tmp_path, "")
    assert (found.key, '["*"]' in found.remedy) == ("keys.release.clients", True)
    policy(tmp_path, 'clients = ["*"]').check("anybody", 0)
    policy(tmp_path, 'clients = ["build-1"]').check("build-1", 0)
    for lines in ("clients = []", 'clients = ["build-1"]'):
        with pytest.raises(PolicyDenied):
            policy(tmp_path, lines).check("build-2", 0)
    assert mistake(tmp_path, 'clients = ["build-9"]').key == "keys.release.clients"


def test_windows_and_budgets_are_read(tmp_path: Path) -> None:
    """Whole days where no time is given; the end of the day where there is no end."""
    head = 'clients = ["*"]\n'
    read = policy(
        tmp_path,
        head
        + 'windows = [{ days = ["sat"], from = 22:00:00 }, { until = 06:30:00 }]\nbudget = { digests = 10, per = "hour" }',
    )
    assert read.windows == (
        Window(days=frozenset({5}), start_s=79_200, end_s=86_400),
        Window(days=frozenset(range(7)), start_s=0, end_s=23_400),
    )
    assert read.budget == Budget(digests=10, period_s=3600)
    assert (
        str(read)
        == "clients: every client; windows: sat 22:00-24:00 UTC; daily 00:00-06:30 UTC; budget: 10 in 3600 s"
    )
    for lines, key in (
        ("windows = [{ from = 18:00:00, until = 18:00:00 }]", "keys.release.windows[0].until"),
        ('windows = [{ zone = "Europe/Nowhere" }]', "keys.release.windows[0].zone"),
        ('windows = [{ zone = "../../etc/passwd" }]', "keys.release.windows[0].zone"),
        ('windows = [{ days = ["someday"] }]', "keys.release.windows[0].days[0]"),
        ("windows = [{ days = [] }]", "keys.release.windows[0].days"),
        ("budget = { digests = 0 }", "keys.release.budget.digests"),
        ('budget = { digests = 1, per = "year" }', "keys.release.budget.per"),
    ):
        assert mistake(tmp_path, head + lines).key == key
