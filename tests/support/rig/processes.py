"""Processes as ``/proc`` shows them; one that ends while it is read is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
GONE: Final = (FileNotFoundError, ProcessLookupError)
"""A process or thread that has ended: before its file was opened, or between that and the read."""


def children(pid: int, proc: Path = PROC) -> list[int]:
    """Processes that any thread of PID has started and PID has not yet collected."""
    try:
        tasks = [*(proc / str(pid) / "task").iterdir()]
    except GONE:
        return []
    found: list[int] = []
    for task in tasks:
        try:
            found += [int(word) for word in (task / "children").read_text().split()]
        except GONE:
            continue
    return found


def descendants(pid: int, proc: Path = PROC) -> list[int]:
    """All processes below PID, each before its own children."""
    return [found for child in children(pid, proc) for found in (child, *descendants(child, proc))]


def command_of(pid: int, proc: Path = PROC) -> list[str]:
    """The words of a process' command line; none where it has ended."""
    try:
        return (proc / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except GONE:
        return []


def has_ended(pid: int, proc: Path = PROC) -> bool:
    """Whether the process is gone, or a zombie that no process has waited for."""
    try:
        return (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except GONE:
        return True


def open_files(pid: int, proc: Path = PROC) -> set[str]:
    """Files, sockets and pipes that the process has open; one that it closes meanwhile is left out."""
    found = set()
    for descriptor in (proc / str(pid) / "fd").iterdir():
        try:
            found.add(str(descriptor.readlink()))
        except GONE:
            continue
    return found
