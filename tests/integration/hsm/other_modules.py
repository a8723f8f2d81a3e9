"""Other PKCS#11 modules of Debian, each with a token of the test's own; ``make test-hsm`` installs them."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import pytest

from queueing.protocol.algorithms import KeyKind
from tests.integration.hsm.conftest import CHILD_TIMEOUT_S, ROOT
from tests.integration.hsm.survey import Survey, Surveyed
from tests.support.hsm.private_system import private_system
from tests.support.hsm.softhsm import SoftHsm, SoftToken
from tests.support.ports import free_port
from tests.support.tools import ToolMissing, tool

PIN = "24681357"  # opencryptoki refuses its first PIN, 12345678
SO_PIN = "87654321"
START_TIMEOUT_S = 30.0
P11_KIT_MODULES = Path("/usr/share/p11-kit/modules")


def installed(pattern: str, *, since_debian: int = 12) -> Path:
    """Path of a module or program below /usr/lib; without it the test is skipped, but in ``make test-hsm`` only where the
    distribution does not have it.
    """
    found = sorted(Path("/usr/lib").glob(pattern))
    if found:
        return found[0]
    if os.environ.get("SIGMILL_TEST_HSM") and _debian() >= since_debian:
        raise ToolMissing(f"/usr/lib/{pattern} is missing: run `HSM=1 ops/bootstrap`")
    if _debian() < since_debian:
        pytest.skip(f"Debian {_debian()} has no package with {pattern}, Debian {since_debian} has")
    return pytest.skip(f"/usr/lib/{pattern} is not installed; `make test-hsm` installs it")


def _debian() -> int:
    match = re.search(r'^VERSION_ID="?(\d+)', Path("/etc/os-release").read_text(), re.MULTILINE)
    return int(match.group(1)) if match else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherModule:
    """Module, its token, and the words before a command that is to see it."""

    path: Path
    token: str
    pin: str = PIN
    environment: Mapping[str, str] = field(default_factory=dict)
    within: tuple[str, ...] = ()

    def survey(self, folder: Path, create: Sequence[KeyKind], adopt: Sequence[str] = ()) -> Surveyed:
        """Results of creating, adopting, listing and signing with the token, and of the doctor's checks."""
        asked = Survey(
            module=str(self.path),
            token=self.token,
            pin=self.pin,
            create=list(create),
            adopt=list(adopt),
            environment=dict(self.environment),
            folder=str(folder),
        )
        script = str(Path(__file__).with_name("survey.py"))
        out = self.run(sys.executable, script, msgspec.json.encode(asked).decode())
        return msgspec.json.decode(out, type=Surveyed)

    def vendor_key(self, kind: str, label: str, key_id: str) -> None:
        """Create a key pair that signs, by OpenSC's pkcs11-tool."""
        login = ["--token-label", self.token, "--login", "--pin", self.pin]
        words = ["--keypairgen", "--key-type", kind, "--label", label, "--id", key_id, "--usage-sign"]
        self.run(tool("pkcs11-tool"), "--module", str(self.path), *login, *words)

    def init_token(self) -> None:
        """Initialise the token and its PIN, by OpenSC's pkcs11-tool."""
        words = [tool("pkcs11-tool"), "--module", str(self.path)]
        first = ["--slot-index", "0", "--init-token", "--label", self.token, "--so-pin", SO_PIN]
        self.run(*words, *first)
        login = ["--token-label", self.token, "--login", "--login-type", "so", "--so-pin", SO_PIN]
        self.run(*words, *login, "--init-pin", "--new-pin", self.pin)

    def run(self, *words: str) -> str:
        """Output of a command that sees the module; a command that fails fails the test with its last words."""
        done = subprocess.run(
            [*self.within, *words],
            env={**os.environ, "PYTHONPATH": str(ROOT), **self.environment},
            check=False,
            capture_output=True,
            text=True,
            timeout=CHILD_TIMEOUT_S,
        )
        assert done.returncode == 0, f"{words[0]} ended with {done.returncode}: {done.stderr[-3000:]}"
        return done.stdout


@contextmanager
def behind_p11_kit(folder: Path, *lines: str, **module: object) -> Iterator[OtherModule]:
    """A token of the one module that p11-kit is configured for, behind its proxy."""
    proxy = installed("*-linux-gnu/p11-kit-proxy.so")
    (folder / "modules").mkdir()
    (folder / "modules" / "other.module").write_text("\n".join(lines) + "\n")
    script = f'mount --bind "$1" {P11_KIT_MODULES}'
    with private_system(script, str(folder / "modules")) as within:
        yield OtherModule(path=proxy, within=within, **module)  # type: ignore[arg-type]


def softokn_database(folder: Path) -> str:
    """A new database with a PIN; returns NSS's parameters of it."""
    (folder / "nss").mkdir()
    password = folder / "nss" / "password"
    password.write_text(f"{PIN}\n")
    words = [tool("certutil"), "-N", "-d", f"sql:{folder / 'nss'}", "-f", str(password)]
    subprocess.run(words, check=True, timeout=START_TIMEOUT_S)
    return f"configdir='sql:{folder / 'nss'}' certPrefix='' keyPrefix='' secmod='secmod.db' flags="


_SLOT_DAEMON = """
mkdir -p /var/log/opencryptoki
for folder in /run /dev/shm /var/lib/opencryptoki /var/log/opencryptoki; do mount -t tmpfs tmpfs $folder; done
mkdir -p /run/lock /var/lib/opencryptoki/swtok/TOK_OBJ /var/lib/opencryptoki/HSM_MK_CHANGE
systemd-tmpfiles --create /usr/lib/tmpfiles.d/opencryptoki.conf >&2 || true  # /tmp may be another's
chgrp -R pkcs11 /var/lib/opencryptoki
chmod -R 770 /var/lib/opencryptoki
pkcsslotd >&2
for try in $(seq 100); do [ -S /run/pkcsslotd.socket ] || [ -S /run/opencryptoki/pkcsslotd.socket ] && break; sleep 0.1; done
echo acme | pkcsconf -I -c 3 -S 87654321 >&2
pkcsconf -P -c 3 -S 87654321 -n 76543210 >&2
pkcsconf -u -c 3 -S 76543210 -n 12345670 >&2
pkcsconf -p -c 3 -U 12345670 -n "$1" >&2
"""
"""opencryptoki's daemon, and its software token (slot 3 of Debian's configuration) with label and PIN. 87654321 is the
security officer's first PIN; the user's is to be changed once."""


@contextmanager
def opencryptoki() -> Iterator[OtherModule]:
    """Software token of opencryptoki with its slot daemon."""
    path = installed("*-linux-gnu/libopencryptoki.so.0*")
    with private_system(_SLOT_DAEMON, PIN) as within:
        yield OtherModule(path=path, token="acme", within=within)


_TPM = """
swtpm socket --tpm2 --tpmstate "dir=$1" --server "type=tcp,port=$2" --ctrl "type=tcp,port=$3" \
    --flags not-need-init,startup-clear >&2 &
dbus-daemon --session --nofork "--address=unix:path=$1/bus" >&2 &
for try in $(seq 100); do [ -S "$1/bus" ] && break; sleep 0.1; done
export "DBUS_SESSION_BUS_ADDRESS=unix:path=$1/bus"
tpm2-abrmd --session --allow-root "--tcti=swtpm:host=127.0.0.1,port=$2" >&2 &
for try in $(seq 100); do
    dbus-send --session --print-reply --dest=com.intel.tss2.Tabrmd /com/intel/tss2/Tabrmd/Tcti \
        org.freedesktop.DBus.Peer.Ping >&2 && break
    sleep 0.1
done
"""
"""A TPM in software, and its resource manager: without one a TPM holds three keys at a time."""


@contextmanager
def tpm2(folder: Path) -> Iterator[OtherModule]:
    """Token of tpm2-pkcs11 in a simulated TPM."""
    path = installed("*-linux-gnu/pkcs11/libtpm2_pkcs11.so")
    state = folder / "tpm"
    state.mkdir()
    port, control = _two_ports()
    with private_system(_TPM, str(state), str(port), str(control)) as within:
        module = OtherModule(
            path=path,
            token="acme",
            within=within,
            environment={
                "TPM2_PKCS11_STORE": str(state),
                "TPM2_PKCS11_TCTI": "tabrmd:bus_type=session",
                "DBUS_SESSION_BUS_ADDRESS": f"unix:path={state}/bus",
            },
        )
        module.init_token()
        yield module


def _two_ports() -> tuple[int, int]:
    """A free port; the next one, where the TCTI looks for the control channel, is as free as can be told."""
    port = free_port()
    return port, port + 1


def of_softhsm(hsm: SoftHsm, token: SoftToken) -> OtherModule:
    """A token of SoftHSM itself, for what serves it to others."""
    return OtherModule(path=hsm.module_path, token=token.label, pin=token.pin, environment=hsm.env)


@contextmanager
def p11_kit_server(served: OtherModule, address: Path) -> Iterator[OtherModule]:
    """The module behind ``p11-kit server`` and its client, which speak over a socket."""
    client = installed("*-linux-gnu/pkcs11/p11-kit-client.so")
    provider = ["--provider", str(served.path), "pkcs11:"]
    words = [tool("p11-kit"), "server", "-f", "-n", str(address), *provider]
    with _running(words, served.environment):
        _wait_until(address.is_socket, "p11-kit server listens")
        yield replace(served, path=client, environment={"P11_KIT_SERVER_ADDRESS": f"unix:path={address}"})


@contextmanager
def pkcs11_proxy(served: OtherModule, port: int) -> Iterator[OtherModule]:
    """The module behind pkcs11-daemon and its client, which speak over TCP."""
    client = installed("libpkcs11-proxy.so.0", since_debian=13)
    address = f"tcp://127.0.0.1:{port}"
    environment = {**served.environment, "PKCS11_DAEMON_SOCKET": address}
    with _running([tool("pkcs11-daemon"), str(served.path)], environment):
        _wait_until(lambda: _listens(port), "pkcs11-daemon listens")
        yield replace(served, path=client, environment={"PKCS11_PROXY_SOCKET": address})


@contextmanager
def _running(words: Sequence[str], environment: Mapping[str, str]) -> Iterator[None]:
    process = subprocess.Popen(words, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()  # pkcs11-daemon does not always end for less
        process.wait(START_TIMEOUT_S)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _wait_until(question: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not question():
        assert time.monotonic() < deadline, f"not within {START_TIMEOUT_S} s: {what}"
        time.sleep(0.02)
