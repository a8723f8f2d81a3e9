"""Surroundings of a worker: its log, its metrics port, and the tokens that its configuration names."""

from __future__ import annotations

from collections.abc import Iterator

from tests.faults.checker.ledger import Ledger, Violation
from tests.faults.history import CopiedToken, LogLines, PortAbused, of_type

MOST_CONNECTIONS = 32 + 1
"""``docs/reference``: 32 at a time, and one that has come and takes the place of another."""


def uncounted(ledger: Ledger) -> Iterator[Violation]:
    """Check that each missing line of a worker's log was told as dropped, and no other."""
    for lines in of_type(ledger.events, LogLines):
        if lines.told > lines.missing or (lines.complete and lines.told < lines.missing):
            yield Violation(
                "I6 log lines lost uncounted",
                f"{lines.worker}: {lines.missing} of {lines.made} are missing, {lines.told} were told",
            )


def port_lost(ledger: Ledger) -> Iterator[Violation]:
    """Check that an abused metrics port was served within its limit of connections."""
    for port in of_type(ledger.events, PortAbused):
        if port.connections > MOST_CONNECTIONS:
            yield Violation("I5 too many connections", f"{port.worker}: {port.connections}")
        if port.status != 200:
            yield Violation("I5 metrics port lost", f"{port.worker}: status {port.status}")


def copied_token_used(ledger: Ledger) -> Iterator[Violation]:
    """Check that no PIN was tried on the copy of a token under another tenant's table."""
    for copy in of_type(ledger.events, CopiedToken):
        if copy.pin_tried:
            yield Violation("I2 login to a copied token", f"that of {copy.token}, as {copy.tenant}'s")
