"""Openings of files that wait for a pipe's other end, or read whatever a file has: ``queueing.files.regular_file`` has those that do not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

_READERS: Final = {"read_bytes", "read_text"}
_NO_WAITING: Final = {"O_RDWR", "O_EXCL", "O_DIRECTORY", "O_NONBLOCK"}
"""Flags of open(2) with which no pipe is waited for: it is opened at once (fifo(7)), refused, or cannot be there."""


def plain_reads(tree: ast.Module) -> list[int]:
    """Lines that read a file of any kind: ``read_bytes``, ``read_text``, ``open`` for reading, and ``os.open`` that may wait."""
    constants = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    return [
        node.lineno for node in ast.walk(tree) if isinstance(node, ast.Call) and _is_plain(node, constants)
    ]


def _is_plain(call: ast.Call, constants: dict[str, ast.expr]) -> bool:
    if isinstance(call.func, ast.Name):
        return call.func.id == "open" and "r" in _mode(call, at=1)
    if not isinstance(call.func, ast.Attribute):
        return False
    if call.func.attr != "open":
        return call.func.attr in _READERS
    module = ast.unparse(call.func.value)
    if module == "os":
        return len(call.args) > 1 and not _NO_WAITING & {*_flags(call.args[1], constants)}
    if module == "io":
        return not any(word.arg == "opener" for word in call.keywords) and "r" in _mode(call, at=1)
    is_of_a_file = bool(call.args) or any(word.arg in {"mode", "encoding"} for word in call.keywords)
    return is_of_a_file and "r" in _mode(call, at=0)


def _mode(call: ast.Call, *, at: int) -> str:
    """Mode of an ``open``; empty where it is none, as in ``socket.open(sessions)``."""
    given = [*call.args[at : at + 1], *(word.value for word in call.keywords if word.arg == "mode")]
    if not given:
        return "r"
    return given[0].value if isinstance(given[0], ast.Constant) and isinstance(given[0].value, str) else ""


def _flags(flags: ast.expr, constants: dict[str, ast.expr]) -> Iterator[str]:
    for node in ast.walk(flags):
        if isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name) and node.id in constants:
            yield from _flags(constants[node.id], {})
