"""A service on real SoftHSM tokens, without keys: ``operator_site``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.hsm.simhsm import SimHsm
from bench.native.build import build_simhsm
from tests.support.fakes.config_files import service_text
from tests.support.hsm.softhsm import SoftHsm, SoftToken

CANARY_PIN = "canary-418530-pin"


@dataclass(frozen=True, slots=True)
class OperatorSite:
    """The service's file, an empty folder of tenants, and a token for the service, acme and globex."""

    config: Path
    softhsm: SoftHsm
    tokens: dict[str, SoftToken]

    def tenant_file(self, name: str = "acme") -> Path:
        """Path of the tenant's file."""
        return self.config.parent / "tenants" / f"{name}.toml"

    def pin_file(self, name: str = "acme") -> Path:
        """The PIN file of a token."""
        return self.config.parent / "pins" / name

    def put_behind_faults(self, faults: Path) -> None:
        """Put the simulated HSM before acme's token, with these fault rules."""
        device = SimHsm(real_module=self.softhsm.module_path, faults_file=faults)
        variables = {"SOFTHSM2_CONF": str(self.softhsm.conf_path), **device.environment()}
        inline = ", ".join(f'{name} = "{value}"' for name, value in variables.items())
        head, acme, rest = self.config.read_text().partition("[tokens.acme]")
        table, globex, rest = rest.partition("[tokens.globex]")
        table = table.replace(f'module = "{self.softhsm.module_path}"', f'module = "{build_simhsm()}"')
        table = re.sub(r"environment = .*", f"environment = {{ {inline} }}", table)
        self.config.write_text(head + acme + table + globex + rest)


@pytest.fixture
def operator_site(tmp_path: Path, softhsm: SoftHsm) -> OperatorSite:
    """Three tokens with the same canary as their PIN."""
    names = ("service", "acme", "globex")
    tokens = {name: softhsm.init_token(name, pin=CANARY_PIN) for name in names}
    (tmp_path / "tenants").mkdir()
    (tmp_path / "pins").mkdir()
    for name in names:
        file = tmp_path / "pins" / name
        file.write_text(f"{CANARY_PIN}\n")
        file.chmod(0o600)
    config = tmp_path / "sigmill.toml"
    config.write_text(service_text(str(softhsm.module_path), str(softhsm.conf_path)))
    return OperatorSite(config=config, softhsm=softhsm, tokens=tokens)
