"""A service with a real token, and a folder as a release engineer has it: client.toml, certificates, unsigned files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from queueing.protocol.algorithms import Algorithm, KeyKind
from queueing.protocol.public_keys import PublicKey
from tests.support.certificates import certificate_for, issue, pem
from tests.support.hsm.tokens import TokenShelf
from tests.support.redis.process import RedisProcess
from tests.support.rig.rig import Rig, key_block

PAGE = Path(__file__).parents[2] / "docs/tools.md"
BUILT = Path(__file__).parents[2] / "build/tools/bin"
"""Programs that `ops/tools` gets from elsewhere than the distribution."""

LACKING = frozenset(os.environ.get("SIGMILL_TEST_TOOLS_LACKING", "").split())
"""Packages that the distribution does not have, as `ops/tools` prints them."""

RSA = [str(a) for a in Algorithm if a.startswith("RSASSA")]


@dataclass(frozen=True, slots=True)
class Ran:
    """Exit code and all output of a command."""

    code: int
    text: str


@dataclass(frozen=True, slots=True)
class ToolRig:
    """The folder in which commands run."""

    folder: Path

    def run(self, command: str, **environment: str) -> Ran:
        """Run a line as a shell does; stdin is empty."""
        here = str(Path(sys.executable).parent)
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env={
                **os.environ,
                "PATH": f"{here}:{BUILT}:{os.environ['PATH']}",
                "GNUPGHOME": str(self.folder / "gnupg"),
                "EMAIL": "builder@example.com",
                **environment,
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
            timeout=100,
        )
        return Ran(done.returncode, done.stdout)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory, shelf: TokenShelf) -> Iterator[Rig]:
    """A worker whose keys have certificates in the key directory; ``lapsed`` is a key whose time is over."""
    folder = tmp_path_factory.mktemp("tools")
    kinds = {"release": KeyKind.RSA_3072, "release-ec": KeyKind.P256, "lapsed": KeyKind.RSA_3072}
    token = shelf.get(acme={f"acme.{name}.v1": kind for name, kind in kinds.items()})["acme"]
    keys = {name: token.keys[f"acme.{name}.v1"] for name in kinds}
    authority = ec.generate_private_key(ec.SECP256R1())
    certificates = {"ca": issue(None, authority, "CA")}
    certificates |= {
        name: certificate_for(_loaded(key), authority, name, authority=False) for name, key in keys.items()
    }
    ecdsa = key_block(
        "release-ec", "acme", keys["release-ec"], ["ECDSA_SHA_256"], certificates=_names("release-ec")
    )
    lapsed = key_block(
        "lapsed", "acme", keys["lapsed"], RSA, certificates=_names("lapsed"), expires="2020-01-01T00:00:00Z"
    )
    with RedisProcess(folder / "redis", password="tools-password") as redis:
        rig = Rig(
            directory=folder / "rig",
            redis=redis,
            shelf=shelf,
            tenants={"acme": KeyKind.RSA_3072},
            tokens={"acme": token},
            more={"acme": ecdsa + lapsed},
        )
        with rig:
            _certify(rig.tenant_file("acme"), certificates)
            (folder / "release-ec.pub").write_bytes(_public_pem(keys["release-ec"]))
            rig.start_worker()
            _make_openpgp(ToolRig(rig.directory / "clients/acme"))
            yield rig


def _make_openpgp(client: ToolRig) -> None:
    """The OpenPGP certificate of ``release``, as docs/tools.md makes it."""
    made = client.run(
        "sigmill pgp certificate --config client.toml --key release --user-id 'Example Releases <release@example.com>'"
        " -o release.asc && gpg --batch --dearmor --output release.gpg release.asc"
    )
    assert made.code == 0, made.text


def _certify(tenant_file: Path, certificates: dict[str, bytes]) -> None:
    """Give the key ``release`` its certificate and all algorithms of its kind, as an operator does."""
    for name, der in certificates.items():
        (tenant_file.parent / f"{name}.pem").write_bytes(pem(der))
    text = tenant_file.read_text()
    version = "[[keys.release.versions]]"
    text = text.replace(version, f"{version}\ncertificates = {_names('release')}")
    text = text.replace(f"algorithms = {json.dumps([RSA[0]])}", f"algorithms = {json.dumps(RSA)}")
    tenant_file.write_text(text)


def _names(key: str) -> str:
    return f'["{key}.pem", "ca.pem"]'


def _loaded(key: PublicKey) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    loaded = load_der_public_key(key.spki)
    assert isinstance(loaded, rsa.RSAPublicKey | ec.EllipticCurvePublicKey)
    return loaded


def _public_pem(key: PublicKey) -> bytes:
    return _loaded(key).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def rig(service: Rig, tmp_path: Path) -> ToolRig:
    """A folder with what the recipes name."""
    for file in (service.directory / "clients/acme").iterdir():
        shutil.copy(file, tmp_path)
    for file in (service.directory / "tenants").glob("*.pem"):
        shutil.copy(file, tmp_path)
    shutil.copy(service.directory.parent / "release-ec.pub", tmp_path)
    unsigned(tmp_path)
    rig = ToolRig(tmp_path)
    (tmp_path / "gnupg").mkdir(mode=0o700)
    prepared = rig.run(PREPARED)
    assert prepared.code == 0, prepared.text
    hook = tmp_path / "reprepro/conf/sign"
    hook.write_text(PAGE.read_text().partition("```sh\n")[2].partition("```")[0])
    hook.chmod(0o755)
    return rig


PREPARED = """
set -e
gpg --batch --quiet --import release.asc
git init --quiet --initial-branch main . && git config user.name Builder && git commit --quiet --allow-empty -m first
mkdir -p rpmdb repository rpmbuild reprepro/conf
printf 'Codename: stable\\nArchitectures: amd64 source\\nComponents: main\\nSignWith: !sign\\n' > reprepro/conf/distributions
cc -c app-ko.c -o app.ko
if command -v gcab && command -v wixl; then gcab -c app.cab app.bin; wixl -o app.msi app.wxs; fi
printf 'Origin: Example\\nSuite: stable\\nSHA256:\\n' > repository/Release
rpmbuild --quiet -bb --define "_topdir $PWD/rpmbuild" app.spec
mv rpmbuild/RPMS/noarch/app-1-1.noarch.rpm app.rpm
"""
"""A repository with a commit, an unsigned package, and a keyring that knows the key."""


SPEC = """\
Name: app
Version: 1
Release: 1
Summary: Prints a greeting
License: MIT
BuildArch: noarch
%description
An application.
%install
mkdir -p %{buildroot}/usr/share/app && echo hello > %{buildroot}/usr/share/app/greeting
%files
/usr/share/app/greeting
"""
DSC = """\
Format: 3.0 (native)
Source: app
Version: 1
Maintainer: Builder <builder@example.com>
Checksums-Sha256:
 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 0 app_1.tar.xz
"""


WXS = """\
<Wix xmlns="http://schemas.microsoft.com/wix/2006/wi">
<Product Id="*" Name="app" Language="1033" Version="1.0.0" Manufacturer="m" UpgradeCode="b7e7f7c4-1a1e-4b56-9e3b-2e3f8b8b0a11">
<Package Compressed="yes" InstallerVersion="200"/><Media Id="1" Cabinet="a.cab" EmbedCab="yes"/>
<Directory Id="TARGETDIR" Name="SourceDir"><Component Id="c" Guid="b7e7f7c4-1a1e-4b56-9e3b-2e3f8b8b0a12">
<File Id="f" Source="app.bin" KeyPath="yes"/></Component></Directory>
<Feature Id="F"><ComponentRef Id="c"/></Feature></Product></Wix>
"""


MODULE = """\
__attribute__((section(".modinfo"))) const char info[] = "license=GPL\\0description=app";
__attribute__((section(".gnu.linkonce.this_module"))) char module[64] = "app";
"""
"""The sections of a kernel module that modinfo reads; no kernel would load it."""


def unsigned(folder: Path) -> None:
    """Files of each kind, as real as they are at hand: a boot image of efitools is a PE, too."""
    for image in sorted(Path("/usr/lib/efitools").rglob("HelloWorld.efi")):
        shutil.copy(image, folder / "boot.efi")
        shutil.copy(image, folder / "app.exe")
    (folder / "app.spec").write_text(SPEC)
    (folder / "app_1.dsc").write_text(DSC)
    (folder / "app.wxs").write_text(WXS)
    (folder / "app-ko.c").write_text(MODULE)
    (folder / "app.bin").write_bytes(b"\x00artefact\xff" * 1000)
    with zipfile.ZipFile(folder / "app.jar", "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\n\r\n")
        jar.writestr("app/Main.class", b"\xca\xfe\xba\xbe" * 100)
    with zipfile.ZipFile(folder / "app.apk", "w") as apk:
        apk.writestr("AndroidManifest.xml", b"<manifest/>")
        apk.writestr("classes.dex", b"dex\n035" * 100)


def flip(file: Path, content: bytes, *, at_byte: int = 1) -> None:
    """Change one byte of the signed content: this one of ``content``, or of what follows it."""
    raw = bytearray(file.read_bytes())
    at = raw.find(content)
    assert at >= 0, f"{file.name} has no {content!r}"
    raw[at + at_byte] ^= 0x01
    file.write_bytes(raw)
