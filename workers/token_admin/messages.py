"""One request and one answer, as JSON. No PIN travels: the child reads its file."""

from __future__ import annotations

import msgspec

from queueing.protocol.algorithms import Algorithm, KeyKind


class Message(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="what", tag=True
):
    """Frozen, named, tagged by class."""


class TokenAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Which token of which module, and how to log in; no login at all if ``log_in`` is false.

    ``refused_pins_of`` is the state directory in which refused PINs are remembered.
    """

    name: str
    module: str
    slot: int | None
    label: str | None
    serial: str | None
    pin_file: str | None
    protected_path: bool
    refused_pins_of: str


class ShowToken(Message, frozen=True):
    """Ask for the token's own description; without a login."""


class CreateKey(Message, frozen=True):
    """Make a key pair inside the token."""

    kind: KeyKind
    label: str


class AdoptKey(Message, frozen=True):
    """Look for one key that somebody else made there; ``key_id`` is CKA_ID in hex."""

    label: str | None = None
    key_id: str | None = None


class FindKeys(Message, frozen=True):
    """Look for the private keys of these public keys (SPKI in DER), by the checks that signing makes, and at
    every key that could sign.
    """

    public_keys: tuple[bytes, ...]


class InspectToken(Message, tag="ExamineToken", frozen=True):
    """All that ``sigmill doctor`` asks, with one login, or none if ``log_in`` is false: then no key is looked for."""

    public_keys: tuple[bytes, ...]
    algorithms: tuple[Algorithm, ...]
    log_in: bool


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request to the child."""

    token: TokenAddress
    ask: ShowToken | CreateKey | AdoptKey | FindKeys | InspectToken


class TokenFacts(Message, frozen=True):
    """CK_TOKEN_INFO for people; ``most_sessions``: 0 without limit, None where the token
    does not say (CK_UNAVAILABLE_INFORMATION).
    """

    module: str
    slot: int
    label: str
    serial: str
    manufacturer: str
    model: str
    firmware: str
    most_sessions: int | None
    threads: bool
    pin_warnings: tuple[str, ...]


class KeyFacts(Message, frozen=True):
    """A key pair as it stands in the token."""

    label: str
    key_id: str
    kind: KeyKind
    public_key: bytes
    attributes: dict[str, bool]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one search: ``problem`` is empty where the key may sign."""

    problem: str = ""
    code: str = ""


class FoundKeys(Message, frozen=True):
    """One answer for each public key, in order; and all keys that are there, by label."""

    found: tuple[Found, ...]
    present: tuple[KeyFacts, ...]


class TokenReport(Message, tag="TokenExam", frozen=True):
    """What there is to say of a token. ``unable``: algorithms whose mechanism does not sign there. ``keys`` in the order
    of the request; empty where nobody logged in, and then ``problem`` says why, if it was tried.
    """

    facts: TokenFacts
    unable: tuple[Algorithm, ...]
    keys: tuple[Found, ...] = ()
    problem: str = ""
    pin_refused: bool = False


class Failed(Message, frozen=True):
    """The request failed; ``code`` is one of the closed set of reasons."""

    code: str
    problem: str
    pin_refused: bool = False


Answer = TokenFacts | KeyFacts | FoundKeys | TokenReport | Failed
