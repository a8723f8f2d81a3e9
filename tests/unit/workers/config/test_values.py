"""Single values of the configuration files, and the list of errors."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from queueing.errors import ConfigError
from workers.config.values import ErrorList, base64_bytes, expect_name, expect_table, refuse_unknown, unix_ms

FILE = Path("/etc/sigmill/sigmill.toml")


def even(name: str, value: object) -> int:
    if not isinstance(value, int) or value % 2:
        raise ConfigError(str(FILE), name, "is not even", "Write an even number.")
    return value


def test_errors_are_collected_and_valid_values_returned() -> None:
    """A wrong table hides neither the values nor the errors of the others."""
    errors = ErrorList()
    assert errors.collect_each({"a": 2, "b": 3, "c": 4, "d": 5}, even) == {"a": 2, "c": 4}
    assert errors.collect(lambda: even("e", 7)) is None
    assert errors.collect(lambda: even("f", 8)) == 8
    assert [error.key for error in errors.all] == ["b", "d", "e"]
    assert errors.first().key == "b"


def test_each_unknown_key_is_an_error_with_the_nearest_known_one() -> None:
    """The list has all unknown keys, ``refuse_unknown`` raises for the first."""
    errors = ErrorList()
    errors.add_unknown(FILE, {"tokn": 1, "redis": 2, "zzz": 3}, {"token", "redis"})
    assert [error.key for error in errors.all] == ["tokn", "zzz"]
    assert "token" in errors.first().remedy
    with pytest.raises(ConfigError, match="tokn"):
        refuse_unknown(FILE, {"tokn": 1}, {"token"})


@pytest.mark.parametrize("name", ["", "A", "-a", "a b", "a" * 64])
def test_an_invalid_name_is_refused(name: str) -> None:
    """Names are part of Redis keys, labels, file names and logs."""
    with pytest.raises(ConfigError, match="is not a name"):
        expect_name(FILE, "tokens", name)
    assert expect_name(FILE, "tokens", "a.b-1") == "a.b-1"


def test_wrong_types_and_encodings_are_refused() -> None:
    """A table, base64 and a time zone are required where they are read."""
    with pytest.raises(ConfigError, match="is not a table"):
        expect_table(FILE, "redis", "host")
    with pytest.raises(ConfigError, match="is not base64"):
        base64_bytes(FILE, "key", "not base64")
    with pytest.raises(ConfigError, match="has no time zone"):
        unix_ms(FILE, "expires", datetime(2027, 1, 1))  # noqa: DTZ001 - a time without zone is the case
    assert unix_ms(FILE, "expires", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)) == 1000


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-00:01", "0001-01-01T00:00:00+00:01"])
def test_a_time_beyond_the_years_of_utc_is_refused(text: str) -> None:
    """What reads a valid file can show each time in it."""
    with pytest.raises(ConfigError, match="is in no year from 1 to 9999 of UTC"):
        unix_ms(FILE, "expires", datetime.fromisoformat(text))
