"""Adopted configuration of this host: a copy of each file, so that an older one is refused, also after a restart.

The epoch of a tenant's file never decreases, and changed content needs a higher one; comments may change freely. The
epoch of the service's file, which belongs to the host, never decreases either. Lanes start from the copies, so that
they have the worker's configuration while the files are being edited or are invalid.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from queueing.config.toml import parse_toml
from queueing.errors import ConfigError
from queueing.files.durable_file import make_folder, remove_durably, replace_all_durably
from queueing.protocol.key_directory import LARGEST_EPOCH

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger("sigmill.config")


class AdoptedFiles:
    """Copies in one state directory; read by lanes, written by the worker."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "adopted"

    def service_text(self) -> str | None:
        """Text of the service's file adopted last; None where there is none."""
        return _read(self._folder / "service.toml")

    def tenant_text(self, tenant: str) -> str | None:
        """Text of the tenant's file adopted last, also of a removed tenant; None where there is none."""
        return _read(self._folder / "tenants" / f"{tenant}.toml")

    def keep(self, service: str, tenants: Mapping[str, str]) -> None:
        """Store the adopted texts. A copy that cannot be written is removed: lanes must not read a revoked right from it."""
        texts = {self._folder / "service.toml": service}
        texts |= {self._folder / "tenants" / f"{name}.toml": text for name, text in tenants.items()}
        changed = {file: text for file, text in texts.items() if _read(file) != text}
        for file, error in self._write(changed).items():
            log.error("config.not_remembered", extra={"file": str(file), "why": str(error)})
            with contextlib.suppress(OSError):
                remove_durably(file)

    def _write(self, texts: Mapping[Path, str]) -> dict[Path, OSError]:
        """Write the copies; returns the errors by file."""
        try:
            make_folder(self._folder)
            make_folder(self._folder / "tenants")
        except OSError as error:
            return dict.fromkeys(texts, error)
        return replace_all_durably({file: text.encode() for file, text in texts.items()})


def refuse_older_service(file: Path, text: str, adopted: str | None) -> None:
    """Raise ``ConfigError`` when this text of the service's file is older than the adopted one."""
    if adopted is None or adopted == text:
        return
    _refuse_older(file, "service.epoch", _service_epoch(text), _service_epoch(adopted))


def refuse_older_tenant(file: Path, text: str, adopted: str | None) -> None:
    """Raise ``ConfigError`` when this text of a tenant's file is older than the adopted one, or differs at its epoch."""
    if adopted is None or adopted == text:
        return
    new, old = _tables(text), _tables(adopted)
    epoch = _epoch(old)
    _refuse_older(file, "epoch", _epoch(new), epoch)
    if _epoch(new) == epoch and {**new, "epoch": epoch} != {**old, "epoch": epoch}:
        raise ConfigError(
            str(file),
            "epoch",
            f"is still {epoch}, but the content differs from the adopted one",
            f"Write epoch = {epoch + 1}: each change needs a new epoch.",
        )


def _refuse_older(file: Path, key: str, epoch: int, adopted: int) -> None:
    if epoch < adopted:
        raise ConfigError(
            str(file),
            key,
            f"is {epoch}, but {adopted} was adopted before",
            f"Restore the newer file, or set epoch = {adopted + 1}.",
        )


def _service_epoch(text: str) -> int:
    service = _tables(text).get("service", {})
    return _epoch(service) if isinstance(service, dict) else 0


def _epoch(tables: dict[str, Any]) -> int:
    """The epoch; 0 where it is none, as one above ``LARGEST_EPOCH`` that an earlier version adopted."""
    epoch = tables.get("epoch", 0)
    return epoch if isinstance(epoch, int) and 0 <= epoch <= LARGEST_EPOCH else 0


def _tables(text: str) -> dict[str, Any]:
    """Tables of a text; empty for a damaged copy. New files have been parsed before."""
    try:
        return parse_toml(Path("adopted"), text)
    except ConfigError:
        return {}


def _read(file: Path) -> str | None:
    """Text of a copy; None where it is missing, or a lane under its own user may not read it."""
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
