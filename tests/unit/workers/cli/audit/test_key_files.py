"""Files of public keys: one key a line, with comments; a file that is none is told with its name."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from queueing.errors import ConfigError
from queueing.protocol.client_keys import ClientKey
from queueing.transparency.notes import Ed25519NoteKey
from tests.support.fakes.config_files import p256_key, spki_text
from tests.support.farm.sealed_logs import EPOCH_KEY
from workers.cli.audit.key_files import client_keys, service_keys, trusted_keys

CHECKPOINT_KEY = Ed25519NoteKey("sigmill/prod/acme/0123456789abcdef", EPOCH_KEY).verifier


def written(folder: Path, content: str | bytes) -> Path:
    file = folder / "keys"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def test_comments_and_empty_lines_are_left_out(tmp_path: Path) -> None:
    file = written(tmp_path, f"# of host 1\n\n  {CHECKPOINT_KEY.text}  \n")
    assert trusted_keys(file) == [CHECKPOINT_KEY]


def test_service_keys_are_read_as_client_toml_has_them(tmp_path: Path) -> None:
    """A line may be copied with the quotes and commas of the TOML array around it."""
    one, two = p256_key(1), p256_key(2)
    file = written(tmp_path, f'"{spki_text(one)}",\n["{spki_text(two)}"]\n')
    assert service_keys(file) == [one.spki, two.spki]


def test_keys_of_clients_have_their_names(tmp_path: Path) -> None:
    ed25519 = ClientKey.generate().public_spki
    lines = f"ci {spki_text(p256_key(1))}\nbuild-1 {base64.b64encode(ed25519).decode()}\n"
    keys = client_keys(written(tmp_path, lines))
    assert {name: key.spki for name, key in keys.items()} == {"ci": p256_key(1).spki, "build-1": ed25519}


@pytest.mark.parametrize("content", ["", "# nothing but a comment\n"])
def test_a_file_without_a_key_is_told(tmp_path: Path, content: str) -> None:
    """Nothing could be verified by it."""
    for read in (trusted_keys, service_keys):
        with pytest.raises(ConfigError, match="there is no key in it") as raised:
            read(written(tmp_path, content))
        assert raised.value.remedy


@pytest.mark.parametrize("content", [b"\xff\xfe", bytes(1024 * 1024 + 1)], ids=["not UTF-8", "too large"])
def test_a_file_that_is_no_small_text_is_told_with_its_name(tmp_path: Path, content: bytes) -> None:
    file = written(tmp_path, content)
    with pytest.raises(ConfigError) as raised:
        service_keys(file)
    assert raised.value.file == str(file)


def test_a_missing_file_is_told_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file") as raised:
        client_keys(tmp_path / "none")
    assert raised.value.file == str(tmp_path / "none")


def test_a_wrong_line_is_told(tmp_path: Path) -> None:
    """Those of clients and of the service by the number in the file, comments counted, and with a remedy."""
    with pytest.raises(ConfigError, match="line 3 is not 'NAME BASE64'") as raised:
        client_keys(written(tmp_path, f"# of acme\nci {spki_text(p256_key(1))}\nbuild-1\n"))
    assert raised.value.remedy
    with pytest.raises(ConfigError, match="line 2 is not a key in base64") as raised:
        service_keys(written(tmp_path, "\nnot base64\n"))
    assert raised.value.remedy
    with pytest.raises(ConfigError, match="line 2 is no key of checkpoints") as raised:
        trusted_keys(written(tmp_path, "# of host 1\nsigmill+00+AAAA\n"))
    assert raised.value.remedy


@pytest.mark.parametrize("second", [1, 2], ids=["the same key", "another key"])
def test_a_client_with_two_keys_is_told(tmp_path: Path, second: int) -> None:
    """None of the two is taken without a word: the signatures by the other one would count as false."""
    keys = [f"ci {spki_text(p256_key(1))}", "# after the renewal", f"ci {spki_text(p256_key(second))}"]
    with pytest.raises(ConfigError, match="line 3 has a second key of ci") as raised:
        client_keys(written(tmp_path, "\n".join(keys)))
    assert "before and after" in raised.value.remedy
