"""Signature files of ``--out-dir``, one per item and named after it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from queueing.errors import InputUnreadable


def signature_path(out_dir: Path, name: str) -> Path:
    """Path ``out_dir/NAME.sig``, with the folders of the name below ``out_dir``.

    Raises ``InputUnreadable`` for a name that leads out of ``out_dir``.
    """
    parts = [part.replace(":", "-") for part in PurePosixPath(name).parts if part != "/"]
    if not parts or ".." in parts or "\x00" in name:
        raise InputUnreadable("the name leads out of --out-dir")
    return out_dir.joinpath(*parts[:-1], f"{parts[-1]}.sig")


def write_signature(out_dir: Path, name: str, signature: bytes) -> None:
    """Write the signature's bytes; a file of an earlier run is replaced atomically."""
    path = signature_path(out_dir, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(signature)
    part.replace(path)
