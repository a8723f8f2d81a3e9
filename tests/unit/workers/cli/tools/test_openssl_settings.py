"""Configuration files of OpenSSL are read as OpenSSL reads them, as far as a provider's place in them needs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.cli.tools.openssl_settings import OpenSslSettings, quoted


def settings(file: Path, text: str, environment: dict[str, str] | None = None) -> OpenSslSettings:
    file.write_text(text)
    return OpenSslSettings(file, environment or {})


@pytest.mark.parametrize(
    "text, value",
    [
        ("a = b", "b"),
        (" [ default ] \na=b # not c", "b"),
        ("a = 'b # c'", "b # c"),
        (r'a = "b\"c"', 'b"c'),
        (r"a = b\#c", "b#c"),
        ("a = b\\\nc", "bc"),
        ("a = 1\na = 2", "2"),
        ("[x]\ndefault::a = b", "b"),
        ("c = d\na = $c-${c}-$(c)", "d-d-d"),
        ("a = $ENV::HOME/x", "/home/x"),
        ("[x]\nc = d\n[default]\na = ${x::c}", "d"),
        ("# a = b", None),
        ("[x]\na = b", None),
        ("a", None),
        ("", None),
    ],
)
def test_a_value_is_that_of_openssl(text: str, value: str | None, tmp_path: Path) -> None:
    """Comments, quotes, escapes, joined lines, names of other sections, references (config(5))."""
    assert settings(tmp_path / "f.cnf", text, {"HOME": "/home"}).get("default", "a") == value


@pytest.mark.parametrize("line", [".include {}", ".include = {}", '.include "{}"', ".include $ENV::F"])
def test_included_files_are_read_in_their_place(line: str, tmp_path: Path) -> None:
    """A distribution has its providers in such files (Fedora: crypto-policies). A folder is each of its files."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "one.cnf").write_text("b = 1\n[x]\n")
    (folder / "two.txt").write_text("b = 2")
    found = settings(tmp_path / "f.cnf", f"{line.format(folder)}\nc = 3\n", {"F": str(folder)})
    assert (found.get("default", "b"), found.get("x", "c")) == ("1", "3")


@pytest.mark.parametrize(
    "text, environment", [("", {"OPENSSL_CONF_INCLUDE": "more"}), (".pragma = includedir:more\n", {})]
)
def test_relative_names_are_below_the_folder_of_includes(
    text: str, environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the variable or the pragma; else below the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more").mkdir()
    (tmp_path / "more/one.cnf").write_text("a = b")
    assert settings(tmp_path / "f.cnf", f"{text}.include one.cnf", environment).get("default", "a") == "b"


def test_files_that_include_themselves_have_an_end(tmp_path: Path) -> None:
    """As have files that are not there, are no text, or have quotes without an end."""
    file = tmp_path / "f.cnf"
    text = f".include {file}\n.include nothing\n.include {tmp_path}/bytes\na = '" + "x'" * 5000
    (tmp_path / "bytes").write_bytes(b"\xff\0\n[\n=\n$\n\\")
    assert settings(file, text).get("default", "a") is not None


@pytest.mark.parametrize("text", ["/a b", '/a"b', "/a\\b", "/a#b", "/a$b"])
def test_a_quoted_text_is_read_as_it_was(text: str, tmp_path: Path) -> None:
    """TMPDIR and modules may have such names."""
    assert settings(tmp_path / "f.cnf", f"a = {quoted(text)}").get("default", "a") == text
