"""Variables and files lead unmodified tools to the agent, and keep what was configured before."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from workers.cli.tools.tool_environment import ToolEnvironment, client_module

ADDRESS = "unix:path=/tmp/a.sock"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Installed libraries: p11-kit's client, and nothing of OpenSSL."""
    (tmp_path / "usr/lib/x86_64-linux-gnu/pkcs11").mkdir(parents=True)
    (tmp_path / "usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so").touch()
    return tmp_path / "usr"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def variables(folder: Path, root: Path, environment: dict[str, str]) -> dict[str, str]:
    return tools(folder, root).variables(ADDRESS, {"PATH": "/nowhere", **environment})


def tools(folder: Path, root: Path, **pgp: bytes) -> ToolEnvironment:
    return ToolEnvironment(folder=folder, module="/m.so", root=root, pgp=pgp)


def jdk(folder: Path, *lines: str) -> dict[str, str]:
    """The environment of a JDK whose java.security has these lines."""
    (folder / "jdk/conf/security").mkdir(parents=True)
    (folder / "jdk/bin").mkdir()
    (folder / "jdk/bin/java").touch()
    (folder / "jdk/conf/security/java.security").write_text("\n".join(lines))
    return {"JAVA_HOME": str(folder / "jdk")}


def test_the_module_is_found_where_distributions_have_it(root: Path, tmp_path: Path) -> None:
    """A person's own choice comes first; without any there is none."""
    found = str(root / "lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so")
    assert client_module({}, root) == found
    assert client_module({"SIGMILL_PKCS11_MODULE": "/mine.so"}, root) == "/mine.so"
    assert client_module({}, tmp_path / "other") is None


def test_openssl_and_java_are_configured_only_where_they_are(folder: Path, root: Path) -> None:
    """Without pkcs11-provider and a JDK only variables are set, which OpenSSL's engine reads."""
    assert variables(folder, root, {}) == {
        "PATH": f"/nowhere:{folder}/bin",
        "P11_KIT_SERVER_ADDRESS": ADDRESS,
        "SIGMILL_PKCS11_MODULE": "/m.so",
        "PKCS11_MODULE_PATH": "/m.so",
        "PKCS11_PROVIDER_MODULE": "/m.so",
    }
    assert [file.name for file in folder.iterdir()] == ["bin"]


def test_openssls_configuration_has_the_provider_and_java_another(folder: Path, root: Path) -> None:
    """Each where its library is installed; what they contain is tested beside their modules."""
    (root / "lib/x86_64-linux-gnu/ossl-modules").mkdir()
    (root / "lib/x86_64-linux-gnu/ossl-modules/pkcs11.so").touch()
    made = variables(folder, root, {"OPENSSL_CONF": "", **jdk(folder, "security.provider.1=SUN")})
    assert "pkcs11-module-path" in Path(made["OPENSSL_CONF"]).read_text()
    assert "security.provider.2=SunPKCS11" in (folder / "java.security").read_text()


def test_openssls_engine_has_the_module_where_a_persons_configuration_has_another(
    folder: Path, root: Path
) -> None:
    """Also without pkcs11-provider: theirs is included, and the module given again. One sentence tells it."""
    used = folder / "used.cnf"
    used.write_text("openssl_conf=i\n[i]\nengines=e\n[e]\npkcs11=p\n[p]\nMODULE_PATH=/hsm.so\n")
    made = variables(folder, root, {"OPENSSL_CONF": str(used)})
    lines = Path(made["OPENSSL_CONF"]).read_text().splitlines()
    assert lines == [f'.include "{used}"', "[p]", 'MODULE_PATH = "/m.so"']
    (note,) = tools(folder, root).notes({"OPENSSL_CONF": str(used)}, ["true"])
    assert note.startswith("OpenSSL's engine pkcs11")


def test_what_cannot_be_kept_of_a_persons_configuration_is_told(folder: Path, root: Path) -> None:
    """One sentence for each: the module of their own provider in OpenSSL, and their properties of Java on the command line."""
    (root / "lib/x86_64-linux-gnu/ossl-modules").mkdir()
    (root / "lib/x86_64-linux-gnu/ossl-modules/pkcs11.so").touch()
    used = folder / "used.cnf"
    used.write_text("openssl_conf=i\n[i]\nproviders=p\n[p]\npkcs11=h\n[h]\npkcs11-module-path=/hsm.so\n")
    environment = {"PATH": "/nowhere", "OPENSSL_CONF": str(used), **jdk(folder)}
    command = ["java", "-Djava.security.properties=mine"]
    told = tools(folder, root).notes(environment, command)
    assert [note.partition(" ")[0] for note in told] == ["OpenSSL's", "the"]
    assert tools(folder, root).notes(jdk(folder / "other"), ["true"]) == []


def test_git_signs_by_sigmill_gpg_behind_its_other_settings(folder: Path, root: Path) -> None:
    """What the environment already says to git stays; with one certificate git needs no key's name."""
    environment = {"PATH": "/nowhere", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "user.name"}
    made = tools(folder, root, release=b"certificate").variables(ADDRESS, environment)
    assert made["GIT_CONFIG_COUNT"] == "4"
    assert "GIT_CONFIG_KEY_0" not in made
    settings = {made[f"GIT_CONFIG_KEY_{n}"]: made[f"GIT_CONFIG_VALUE_{n}"] for n in (1, 2, 3)}
    assert settings.pop("gpg.program").endswith("/sigmill-gpg")
    assert settings == {"gpg.format": "openpgp", "user.signingKey": "release"}
    assert Path(made["SIGMILL_PGP_FOLDER"], "release.asc").read_text() == "certificate"


@pytest.mark.parametrize(
    "count",
    ["many", "-1", "\u00b2", "\u0663", "1" * 5000],
    ids=["word", "negative", "power", "arabic", "long"],
)
def test_with_two_certificates_git_gets_no_signing_key(folder: Path, root: Path, count: str) -> None:
    """It would sign with one of them by chance. A count that is no number is that of no settings."""
    pgp = {"release": b"certificate", "nightly": b"certificate"}
    made = tools(folder, root, **pgp).variables(ADDRESS, {"PATH": "/nowhere", "GIT_CONFIG_COUNT": count})
    assert made["GIT_CONFIG_COUNT"] == "2"
    assert {made["GIT_CONFIG_KEY_0"], made["GIT_CONFIG_KEY_1"]} == {"gpg.format", "gpg.program"}


def test_our_programs_are_found_behind_all_others(folder: Path, root: Path) -> None:
    """cosign looks for its plugin on PATH; nothing of the build's own is hidden, and nothing else is added."""
    assert variables(folder, root, {})["PATH"] == f"/nowhere:{folder}/bin"
    found = sorted((folder / "bin").iterdir())
    assert [file.name for file in found] == ["sigmill-gpg", "sigstore-kms-sigmill"]
    assert all(file.resolve().parent == Path(sys.executable).parent for file in found)


def test_javas_options_bear_a_folder_with_blanks(tmp_path: Path, root: Path) -> None:
    """TMPDIR may have them, and the JVM cuts its options at blanks: it would not start."""
    folder = tmp_path / "a b"
    folder.mkdir()
    made = variables(folder, root, jdk(tmp_path, "security.provider.1=SUN"))
    assert made["JAVA_TOOL_OPTIONS"] == f'-Djava.security.properties="{folder}/java.security"'
