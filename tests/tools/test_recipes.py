"""Recipes of docs/tools.md, as they stand there: the real tool signs, and the ecosystem's own verifier judges."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.support.pages import command_lines_of
from tests.tools.conftest import LACKING, PAGE, ToolRig, flip

RECIPE = re.compile(r"^### (.+?)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """``packages``: without one of them the distribution cannot run the recipe. ``artefact``: the file that is verified.

    ``content``: bytes of the signed content, one of which is changed, or ``change`` does it. ``proof``: words of the verifier.
    """

    packages: tuple[str, ...]
    artefact: str
    content: bytes = b""
    change: str = ""
    proof: str


CASES = {
    "jarsigner": Case(
        packages=("default-jdk-headless",),
        artefact="app.jar",
        content=b"\xca\xfe\xba\xbe",
        proof="jar verified.",
    ),
    "apksigner": Case(packages=("apksigner",), artefact="signed.apk", content=b"dex\n035", proof=""),
    "osslsigncode": Case(
        packages=("osslsigncode", "efitools", "libengine-pkcs11-openssl"),
        artefact="signed.exe",
        content=b".text",
        proof="Number of verified signatures: 1",
    ),
    "PE files, many at once": Case(
        packages=("osslsigncode", "efitools"),
        artefact="app.exe",
        content=b".text",
        proof="Number of verified signatures: 1",
    ),
    "Cabinets and MSI packages": Case(
        packages=("osslsigncode", "gcab", "wixl"),
        artefact="app.msi",
        content=b"MSCF",
        proof="Number of verified signatures: 1",
    ),
    "Detached signatures of any file": Case(
        packages=(), artefact="app.bin", content=b"artefact", proof="successful"
    ),
    "sbsign": Case(
        packages=("sbsigntool", "efitools", "libengine-pkcs11-openssl"),
        artefact="signed.efi",
        content=b".text",
        proof="Signature verification OK",
    ),
    "OpenSSL with the engine": Case(
        packages=("libengine-pkcs11-openssl",), artefact="app.bin", content=b"artefact", proof="successful"
    ),
    "OpenSSL with the provider": Case(
        packages=("pkcs11-provider",), artefact="app.bin", content=b"artefact", proof="successful"
    ),
    "Linux kernel modules": Case(
        packages=("libengine-pkcs11-openssl", "kmod", "linux-kbuild-6.1", "linux-kbuild-6.12"),
        artefact="signed.ko",
        content=b"license=GPL",
        proof="successful",
    ),
    "Git": Case(
        packages=("git", "gnupg"),
        artefact="",
        change="git update-ref refs/tags/v1.0 $(git cat-file tag v1.0 | sed 's/version 1.0/version 2.0/'"
        " | git hash-object -t tag -w --stdin)",
        proof="Good signature",
    ),
    "RPM packages": Case(
        packages=("rpm",), artefact="app.rpm", content=b"Prints a greeting", proof="digests signatures OK"
    ),
    "Debian packages": Case(
        packages=("devscripts", "gpgv"), artefact="app_1.dsc", content=b"Version: 1", proof="Good signature"
    ),
    "APT repositories": Case(
        packages=("gpgv",), artefact="repository/InRelease", content=b"Suite: stable", proof="Good signature"
    ),
    "reprepro": Case(
        packages=("reprepro", "gpgv"),
        artefact="reprepro/dists/stable/InRelease",
        content=b"Codename: stable",
        proof="Good signature",
    ),
    "MCUboot images with imgtool": Case(
        packages=("imgtool", "opensc"),
        artefact="app.img",
        content=b"artefact",
        proof="Image was correctly validated",
    ),
    "cosign: files": Case(packages=("cosign",), artefact="app.bin", content=b"artefact", proof="Verified OK"),
    "pkcs11-tool": Case(packages=("opensc",), artefact="app.bin", content=b"artefact", proof="Verified OK"),
}


ELSEWHERE = {"cosign: container images"}
"""Recipes that tests of their own run: they need a server."""


def recipes() -> dict[str, list[str]]:
    """Commands by the name of their recipe."""
    text = PAGE.read_text().partition("\n## Recipes")[2].partition("\n## ")[0]
    return {name: list(command_lines_of(block)) for name, block in RECIPE.findall(text)}


def test_each_recipe_has_a_case() -> None:
    """Every recipe of the page is run here or by a test of its own."""
    assert set(recipes()) == {*CASES, *ELSEWHERE}


@pytest.mark.parametrize("name", CASES)
def test_a_tool_signs_as_it_stands_and_a_changed_byte_is_refused(name: str, rig: ToolRig) -> None:
    """The first command signs through real lanes; the last one accepts the artefact, and refuses it with a byte changed."""
    case = CASES[name]
    lacking = LACKING & {*case.packages}
    if lacking:
        pytest.skip(f"this distribution has no {', '.join(sorted(lacking))}")
    *signing, verifying = recipes()[name]
    for command in signing:
        ran = rig.run(command)
        assert ran.code == 0, f"{command}\n{ran.text}"
    ran = rig.run(verifying)
    assert (ran.code, case.proof in ran.text) == (0, True), ran.text
    if case.change:
        assert rig.run(case.change).code == 0
    else:
        flip(rig.folder / case.artefact, case.content)
    ran = rig.run(verifying)
    assert ran.code != 0, ran.text
