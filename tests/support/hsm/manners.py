"""The manners of other PKCS#11 modules, in front of SoftHSM: ``tests/native/manners.c`` lists them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from bench.native import build
from workers.config.settings import TokenSettings

SOURCE = Path(__file__).resolve().parents[2] / "native" / "manners.c"


SERVED: Final = (
    (),
    ("search-nothing",),
    ("search-ignores",),
    ("search-one",),
    ("search-refuses",),
    ("padded",),
    ("raw-point",),
    ("compressed-point",),
    ("private-bare",),
    ("no-id", "padded-labels"),
    ("labels-differ",),
    ("found-twice",),
    ("one-attribute",),
    ("no-zeros",),
    ("der",),
    ("init-once=0x191",),
    ("init-once=0x5",),
    ("no-finalize",),
    ("no-locking",),
    ("several-lists",),
    ("search-nothing", "padded", "raw-point", "private-bare", "found-twice", "no-zeros"),
)
"""Manners with which keys are found and sign; those of one tuple at once."""


def build_manners() -> Path:
    """The module, compiled once for each version of its source."""
    flags = (*build.SHARED_FLAGS, f"-I{build.SOURCE_DIRECTORY}")
    return build.compile_sources("manners.so", [SOURCE], flags)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manners:
    """Manners of a module, with the label of its sick neighbour and the file of its calls."""

    names: tuple[str, ...]
    real_module: Path
    neighbour: str = ""
    log: Path | None = None
    module: Path = field(default_factory=build_manners)

    def environment(self) -> dict[str, str]:
        """Variables that the module reads."""
        variables = {
            "MANNERS_MODULE": str(self.real_module),
            "MANNERS": ",".join(self.names),
            "MANNERS_NEIGHBOUR": self.neighbour,
        }
        return variables if self.log is None else {**variables, "MANNERS_LOG": str(self.log)}

    def in_front_of(self, settings: TokenSettings) -> TokenSettings:
        """Settings of a token behind this module."""
        environment = {**settings.environment, **self.environment()}
        return msgspec.structs.replace(settings, module=str(self.module), environment=environment)

    def calls(self, name: str) -> int:
        """Number of calls of a function so far."""
        assert self.log is not None
        if not self.log.exists():
            return 0
        return sum(line.split()[1] == name for line in self.log.read_text().splitlines())
