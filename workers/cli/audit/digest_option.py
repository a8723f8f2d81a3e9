"""Digest option."""

from __future__ import annotations

import click


class Digest(click.ParamType[bytes]):
    """Digest option: hex digits, with or without ``sha256:`` before them."""

    name = "digest"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> bytes:
        """Convert the text to bytes; fails as a usage error."""
        try:
            digest = bytes.fromhex(str(value).rpartition(":")[2])
        except ValueError:
            digest = b""
        if not digest:  # of a shell variable that is not set: every job would have it
            self.fail(f"{value!r} is not a digest in hex", param, ctx)
        return digest
