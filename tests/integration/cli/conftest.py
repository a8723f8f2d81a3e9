"""A service on real SoftHSM tokens, without keys: ``operator_site``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

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
