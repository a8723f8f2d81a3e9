"""What this host adopted last: a copy of each file, so that an older one is refused, also after a restart.

The rule for a tenant's file: its epoch never falls, and changed content has a higher one; comments are free. For
the service's file, which is the host's own: its epoch never falls. Lanes that the worker starts begin with the copies, so that they know what the
worker knows, also while the files are being edited or are broken.
"""

from __future__ import annotations

import contextlib
import logging
import tomllib
from typing import TYPE_CHECKING, Any

from queueing.errors import ConfigError
from queueing.files.durable_file import make_folder, remove_durably, replace_all_durably

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

log = logging.getLogger("sigmill.config")


class AdoptedFiles:
    """The copies in one state directory; read by lanes, written by the worker."""

    def __init__(self, state_dir: Path) -> None:
        self._folder = state_dir / "adopted"

    def service_text(self) -> str | None:
        """The service's file as it was adopted last."""
        return _read(self._folder / "service.toml")

    def tenant_text(self, tenant: str) -> str | None:
        """The tenant's file as it was adopted last; it stays known after the tenant is gone."""
        return _read(self._folder / "tenants" / f"{tenant}.toml")

    def keep(self, service: str, tenants: Mapping[str, str]) -> None:
        """These texts are adopted. A copy that cannot be written is removed: a full disk holds up no revocation."""
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
    """Raise ``ConfigError`` when this text of the service's file is older than the one adopted."""
    if adopted is None or adopted == text:
        return
    _refuse_older(file, "service.epoch", _service_epoch(text), _service_epoch(adopted))


def refuse_older_tenant(file: Path, text: str, adopted: str | None) -> None:
    """Raise ``ConfigError`` when this text of a tenant's file is older than the one adopted, or as old and different."""
    if adopted is None or adopted == text:
        return
    new, old = _tables(text), _tables(adopted)
    epoch = _epoch(old)
    _refuse_older(file, "epoch", _epoch(new), epoch)
    if _epoch(new) == epoch and {**new, "epoch": epoch} != {**old, "epoch": epoch}:
        raise ConfigError(
            str(file),
            "epoch",
            f"is still {epoch}, but the content is not what was adopted with it",
            f"Write epoch = {epoch + 1}: each change has its own.",
        )


def _refuse_older(file: Path, key: str, epoch: int, adopted: int) -> None:
    if epoch < adopted:
        raise ConfigError(
            str(file),
            key,
            f"is {epoch}, and {adopted} was adopted before",
            f"Put the newer file back, or write what is meant as epoch {adopted + 1}.",
        )


def _service_epoch(text: str) -> int:
    service = _tables(text).get("service", {})
    return _epoch(service) if isinstance(service, dict) else 0


def _epoch(tables: dict[str, Any]) -> int:
    epoch = tables.get("epoch", 0)
    return epoch if isinstance(epoch, int) else 0


def _tables(text: str) -> dict[str, Any]:
    """A copy that is damaged remembers nothing; a new file was parsed before it comes here."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def _read(file: Path) -> str | None:
    """None where there is none, or where a lane's own user may not look."""
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
