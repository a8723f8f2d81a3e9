"""Archive of a support bundle: all parts redacted, and a manifest of its parts and of those that failed."""

from __future__ import annotations

import io
import os
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import msgspec

from queueing.errors import SigningError
from workers.config.settings import PinLogin
from workers.support.collectors import PartFailed, parts_of
from workers.support.redaction import KnownSecrets

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from workers.config.service_file import ServiceConfiguration
    from workers.support.collectors import Part

_AT_ONCE: Final = 4


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """Manifest of a bundle. ``problems``: errors of parts that failed. ``not_looked_for``: unreadable secret files."""

    host: str
    at: str
    parts: tuple[str, ...]
    problems: dict[str, str]
    not_looked_for: tuple[str, ...]


def secret_files(service: ServiceConfiguration) -> list[Path]:
    """Secret files that the configuration refers to."""
    redis = service.redis
    names = [token.login.pin_file for token in service.tokens.values() if isinstance(token.login, PinLogin)]
    names += [redis.password_file] if redis.password_file else []
    names += [redis.sentinel.password_file] if redis.sentinel and redis.sentinel.password_file else []
    return [service.file.parent / name for name in names]


def write_bundle(
    out: Path,
    file: Path,
    service: ServiceConfiguration | None,
    *,
    logs: Sequence[Path],
    commands: Sequence[tuple[str, ...]],
) -> Manifest:
    """Collect all parts and write the archive, with mode 0600. Raises ``OSError`` where it cannot be written."""
    secrets = KnownSecrets([] if service is None else secret_files(service))
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    host, at = os.uname().nodename, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        made = list(pool.map(_make, parts_of(file, service, logs, commands)))
    texts = {name: secrets.redact(text) for name, text, problem in made if not problem}
    manifest = Manifest(
        host=host,
        at=at,
        parts=tuple(texts),
        problems={name: secrets.redact(problem) for name, _, problem in made if problem},
        not_looked_for=tuple(secrets.unreadable),
    )
    texts["manifest.json"] = msgspec.json.format(msgspec.json.encode(manifest)).decode()
    with os.fdopen(descriptor, "wb") as stream, tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, text in texts.items():
            raw = text.encode()
            entry = tarfile.TarInfo(f"sigmill-support-{host}-{at}/{name}")
            entry.size, entry.mode, entry.mtime = len(raw), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(raw))
    return manifest


def _make(part: Part) -> tuple[str, str, str]:
    """Collect one part: its name, its text, and its error."""
    name, make = part
    try:
        return name, make(), ""
    except (PartFailed, SigningError, OSError) as error:
        return name, "", f"{error}" or type(error).__name__
