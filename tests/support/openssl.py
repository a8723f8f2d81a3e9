"""The ``openssl`` command line: an independent reader of requests, and a certificate authority for tests."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.tools import tool

_AUTHORITY = """\
[ca]
default_ca = test
[test]
dir = {folder}
new_certs_dir = {folder}
database = {folder}/index.txt
serial = {folder}/serial
default_md = sha256
policy = any
copy_extensions = copy
rand_serial = yes
unique_subject = no
[any]
countryName = optional
organizationName = optional
commonName = supplied
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""


@dataclass(frozen=True, slots=True)
class Checked:
    """Exit code and all output of an openssl command."""

    code: int
    text: str


def openssl(*words: str | Path) -> Checked:
    """Run ``openssl`` to its end."""
    done = subprocess.run(
        [tool("openssl"), *map(str, words)], check=False, capture_output=True, text=True, timeout=60
    )
    return Checked(done.returncode, done.stdout + done.stderr)


def made(*words: str | Path) -> None:
    """Run ``openssl``, which must succeed."""
    done = openssl(*words)
    assert done.code == 0, done.text


class Authority:
    """A root and an intermediate of openssl's in ``folder``; it issues from requests as a public authority does."""

    def __init__(self, folder: Path, *, name: str = "Test") -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        (folder / "index.txt").touch()
        self._config = folder / "openssl.cnf"
        self._config.write_text(_AUTHORITY.format(folder=folder))
        made(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-days", "3650",
            "-subj", f"/CN={name} root", "-keyout", folder / "root.key", "-out", self.root,
            "-config", self._config, "-extensions", "authority",
        )  # fmt: skip
        made(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
            f"/CN={name} intermediate", "-keyout", folder / "intermediate.key", "-out", folder / "intermediate.csr",
            "-config", self._config,
        )  # fmt: skip
        self._issue(
            folder / "intermediate.csr",
            self.intermediate,
            "root",
            "-extensions",
            "authority",
            "-days",
            "1825",
        )

    @property
    def root(self) -> Path:
        return self.folder / "root.pem"

    @property
    def intermediate(self) -> Path:
        return self.folder / "intermediate.pem"

    def issue(self, request: Path, *more: str) -> Path:
        """Certificate for a request (PEM); ``more`` are further words for ``openssl ca``."""
        leaf = self.folder / f"{request.stem}.leaf.pem"
        self._issue(request, leaf, "intermediate", *more)
        return leaf

    def chain(self, request: Path, *more: str) -> Path:
        """Leaf and intermediate in one PEM file, as an authority sends them."""
        leaf = self.issue(request, *more)
        chain = self.folder / f"{request.stem}.chain.pem"
        chain.write_text(leaf.read_text() + self.intermediate.read_text())
        return chain

    def _issue(self, request: Path, to: Path, issuer: str, *more: str) -> None:
        dates = () if {"-days", "-enddate"} & {*more} else ("-days", "365")
        made(
            "ca", "-batch", "-notext", "-config", self._config, "-cert", self.folder / f"{issuer}.pem", "-keyfile",
            self.folder / f"{issuer}.key", "-in", request, "-out", to, *dates, *more,
        )  # fmt: skip
