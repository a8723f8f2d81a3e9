"""Reading of configuration files: whatever is in them, the reader gets tables or one ``ConfigError``."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueing.config.toml import LARGEST_BYTES, parse_toml, read_toml
from queueing.errors import ConfigError


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 3000 + "]" * 3000,
        "x = " + "{a = " * 3000,
        "x = " + "[" * 500_000,
        "a" + ".a" * 3000 + " = 1",
        "a" + ".a" * 100 + " = 1",
        "[a" + ".a" * 500_000 + "]",
        "epoch = " + "1" * 5000,
        "epoch = 0x" + "f" * 5000,
        "epoch = -9223372036854775809",
        "weight = nan",
        "weight = inf",
        "weight = 1e999",
        "expires = 2027-02-30T00:00:00Z",
        'state_dir = "a\\u0000b"',
        '"a\\u0000b" = 1',
        "x = '\0'",
    ],
    ids=lambda text: f"{text[:24]!r}…",
)
def test_a_text_that_no_key_takes_is_a_config_error(text: str) -> None:
    """Too deep, too long, too large or with a NUL: tomllib raises RecursionError and ValueError, or takes it."""
    with pytest.raises(ConfigError) as caught:
        parse_toml(Path("acme.toml"), text)
    assert caught.value.file == "acme.toml"
    assert caught.value.remedy


@given(st.text(alphabet="ab.=\"'[]{},#\n\\0123-:TZ \u00e9\0", max_size=120))
def test_any_text_gives_tables_or_a_config_error(text: str) -> None:
    """No other exception reaches the reader of a file."""
    with contextlib.suppress(ConfigError):
        assert isinstance(parse_toml(Path("acme.toml"), text), dict)


@pytest.mark.parametrize(
    "raw",
    [b"\xff\xfea\0", b"a = '\xff'", b"a = 1 # " + b"x" * LARGEST_BYTES],
    ids=["UTF-16", "latin", "large"],
)
def test_bytes_that_are_no_configuration_are_a_config_error(tmp_path: Path, raw: bytes) -> None:
    """The error names the file and the remedy."""
    file = tmp_path / "acme.toml"
    file.write_bytes(raw)
    with pytest.raises(ConfigError) as caught:
        read_toml(file)
    assert caught.value.file == str(file)
    assert caught.value.remedy


@pytest.mark.timeout(10)
def test_a_pipe_a_device_or_a_folder_is_a_config_error(tmp_path: Path) -> None:
    """A pipe without a writer would block the reader, a device fill its memory."""
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path / "pipe", Path("/dev/zero"), tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError) as caught:
            read_toml(file)
        assert caught.value.remedy


@pytest.mark.parametrize(
    "raw", [b"\xef\xbb\xbfa = 1\n[b]\n", b"\xef\xbb\xbfa = 1\r\n[b]\r\n", b"a = 1\r[b]\r"]
)
def test_the_text_of_other_systems_is_read(tmp_path: Path, raw: bytes) -> None:
    """A byte order mark is no part of the text, and lines end in CRLF or CR, too."""
    file = tmp_path / "acme.toml"
    file.write_bytes(raw)
    assert read_toml(file) == {"a": 1, "b": {}}
