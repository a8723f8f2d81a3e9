"""The JVM gets the provider beside a person's own security properties."""

from __future__ import annotations

from pathlib import Path

import pytest

from workers.cli.tools.java_provider import JavaProvider

OPTION = "-Djava.security.properties="
STOCK = "security.provider.1=SUN\n#security.provider.2=X\nsecurity.provider.2=SunPKCS11\n"


def provider(folder: Path, jdk: str = STOCK, **environment: str) -> JavaProvider:
    """For a JDK whose java.security has this text; files are made in ``folder/run``."""
    security = folder / "jdk/conf/security"
    security.mkdir(parents=True, exist_ok=True)
    (security / "java.security").write_text(jdk)
    (folder / "run").mkdir(exist_ok=True)
    return JavaProvider(folder / "run", "/m.so", {"JAVA_HOME": str(folder / "jdk"), **environment})


def line(folder: Path, number: int) -> str:
    return f"security.provider.{number}=SunPKCS11 {folder}/run/java-provider.cfg\n"


def test_the_provider_is_behind_the_jdks_own(tmp_path: Path) -> None:
    """Under the next number; a comment has none. A person's other options stay."""
    made = provider(tmp_path, JAVA_TOOL_OPTIONS="-Xmx1g").variables()
    configuration = tmp_path / "run/java-provider.cfg"
    assert made == {
        "JAVA_TOOL_OPTIONS": f"-Xmx1g {OPTION}{tmp_path}/run/java.security",
        "SIGMILL_JAVA_PROVIDER": str(configuration),
    }
    assert (tmp_path / "run/java.security").read_text() == line(tmp_path, 3)
    assert configuration.read_text() == 'name = Sigmill\nlibrary = "/m.so"\nslotListIndex = 0\n'


def test_the_provider_has_a_number_that_the_jvm_reaches(tmp_path: Path) -> None:
    """It stops at the first one that is missing."""
    provider(tmp_path, "security.provider.1=SUN\nsecurity.provider.12=X\n").variables()
    assert (tmp_path / "run/java.security").read_text() == line(tmp_path, 2)


@pytest.mark.parametrize("text", ['{}"{}"', "{}'{}'", '"{}{}"', "{}file://{}"])
def test_a_persons_properties_are_taken_into_the_file(text: str, tmp_path: Path) -> None:
    """Byte by byte, whatever is at their end; the last file that is named is the one that the JVM reads."""
    own = tmp_path / "my.security"
    own.write_bytes(b"a=\xe4\nsecurity.provider.3 : Mine\nb=c\\")
    options = f"{OPTION}/other {text.format(OPTION, own)}"
    made = provider(tmp_path, JAVA_TOOL_OPTIONS=options).variables()
    assert made["JAVA_TOOL_OPTIONS"] == f"{options} {OPTION}{tmp_path}/run/java.security"
    found = (tmp_path / "run/java.security").read_bytes()
    assert found == own.read_bytes() + b"\n\n" + line(tmp_path, 4).encode()


def test_properties_in_place_of_the_jdks_stay_so(tmp_path: Path) -> None:
    """`==`: the numbers are those of the person's file alone."""
    own = tmp_path / "my.security"
    own.write_text("security.provider.1=Mine\n")
    made = provider(tmp_path, JAVA_TOOL_OPTIONS=f"{OPTION}={own}").variables()
    assert made["JAVA_TOOL_OPTIONS"].endswith(f" {OPTION}={tmp_path}/run/java.security")
    assert (tmp_path / "run/java.security").read_text().endswith(line(tmp_path, 2))


def test_variables_that_win_over_others_get_the_provider_too(tmp_path: Path) -> None:
    """Each with its own properties; one without the option stays as it is."""
    own = tmp_path / "my.security"
    own.write_text("a=b\n")
    made = provider(tmp_path, JDK_JAVA_OPTIONS="-Xmx1g", _JAVA_OPTIONS=f"{OPTION}{own}").variables()
    assert made["JAVA_TOOL_OPTIONS"] == f"{OPTION}{tmp_path}/run/java.security"
    assert "JDK_JAVA_OPTIONS" not in made
    assert made["_JAVA_OPTIONS"] == f"{OPTION}{own} {OPTION}{tmp_path}/run/java2.security"
    assert (tmp_path / "run/java2.security").read_text() == f"a=b\n\n\n{line(tmp_path, 3)}"


@pytest.mark.parametrize(
    "name", ["/nowhere", "", "https://example.com/x", "${java.home}/x", "own", "."], ids=str
)
def test_properties_that_cannot_be_taken_over_stay_and_are_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another host, not there, or with an `include` that would mean another file: their option is what counts."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").write_text("include more.security\n")
    java = provider(tmp_path, JAVA_TOOL_OPTIONS=f"{OPTION}{name}")
    assert set(java.variables()) == {"SIGMILL_JAVA_PROVIDER"}
    (told,) = java.notes(["jarsigner"])
    assert told.startswith("JAVA_TOOL_OPTIONS names ")
    assert "-providerArg $SIGMILL_JAVA_PROVIDER" in told


def test_options_that_win_are_told(tmp_path: Path) -> None:
    """Of a build tool's own variable, or of the command: nothing here can change them."""
    java = provider(tmp_path, MAVEN_OPTS=f"-Xmx1g {OPTION}x", GRADLE_OPTS="-Xmx1g")
    told = java.notes(["jarsigner", f"-J{OPTION}x"])
    assert [note.partition(" has ")[0] for note in told] == ["MAVEN_OPTS", "the command"]


def test_without_a_jdk_nothing_is_set_and_nothing_told(tmp_path: Path) -> None:
    """No variable has an effect there."""
    java = JavaProvider(tmp_path, "/m.so", {"PATH": "/nowhere", "MAVEN_OPTS": f"{OPTION}x"})
    assert (java.variables(), java.notes([])) == ({}, [])
