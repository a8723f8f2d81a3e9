"""Refusals of the issuer: each with an outcome for the metric, and a sentence for the caller.

A sentence may quote a claim that came with the caller's own token; it never quotes a rule, since anybody with an account at
the provider has a valid token.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Final

from queueing.errors import IdentityRefused

MOST_SHOWN: Final = 120
"""Characters of a value in a message."""


class Outcome(StrEnum):
    """Outcomes of requests: the closed set of the label ``outcome``."""

    ISSUED = "issued"
    CHECKED = "checked"
    MALFORMED = "malformed"
    PROVIDER = "provider"
    HEADER = "header"
    KEY = "key"
    SIGNATURE = "signature"
    CLAIMS = "claims"
    TIME = "time"
    AUDIENCE = "audience"
    RULE = "rule"
    PROOF = "proof"
    REPLAYED = "replayed"
    CERTIFICATE = "certificate"
    UNAVAILABLE = "unavailable"


class TokenRefused(IdentityRefused):
    """The issuer refuses the token or certificate; ``outcome`` is the kind of refusal."""

    def __init__(self, outcome: Outcome, message: str, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.outcome = outcome


def shown(value: object) -> str:
    """A JSON value as a caller may see it: in ASCII, control characters and look-alikes by their escapes, and cut."""
    text = json.dumps(value, ensure_ascii=True)
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…"
