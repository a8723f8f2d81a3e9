"""Requests and answers between the command line and its child, as JSON. No PIN is sent: the child reads its file."""

from __future__ import annotations

import msgspec

from queueing.protocol.algorithms import Algorithm, KeyKind


class Message(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="what", tag=True
):
    """Base of the messages: frozen, keyword-only, tagged by class."""


class OtherToken(msgspec.Struct, frozen=True, kw_only=True):
    """Table of another owner, to whose token no other owner may log in.

    ``visible``: by the same module and environment, where slots and labels mean the same.
    """

    table: str
    owner: str
    slot: int | None
    label: str | None
    serial: str | None
    visible: bool


class RecordedLogin(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a login for the record. ``tenant``: whose token it is, empty for the service's; ``by``: ``command of USER``."""

    tenant: str
    by: str


class TokenAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Address of a token: module, criteria and login.

    ``refused_pins_of`` is the state directory in which refused PINs are recorded. ``owner``: for whom it is used, empty where
    unknown; ``others``: the tables of other owners. ``login``: for the record; None where no worker has this state directory.
    """

    name: str
    module: str
    slot: int | None
    label: str | None
    serial: str | None
    pin_file: str | None
    protected_path: bool
    refused_pins_of: str
    owner: str = ""
    others: tuple[OtherToken, ...] = ()
    login: RecordedLogin | None = None


class ShowToken(Message, frozen=True):
    """Request for the token's own description; without a login."""


class CreateKey(Message, frozen=True):
    """Request to create a key pair inside the token; ``key_id``: its CKA_ID in hex, a random one where empty."""

    kind: KeyKind
    label: str
    key_id: str = ""


class AdoptKey(Message, frozen=True):
    """Request to adopt one key that another tool created in the token; ``key_id`` is CKA_ID in hex."""

    label: str | None = None
    key_id: str | None = None


class FindKeys(Message, frozen=True):
    """Request to find the private keys of these public keys (SPKI in DER), by the checks that signing makes, and to list
    every key that could sign.
    """

    public_keys: tuple[bytes, ...]


class DescribeKey(Message, frozen=True):
    """Request for all that token and module show of the private key of this public key (SPKI in DER)."""

    public_key: bytes


class SignMessage(Message, frozen=True):
    """Request to sign a certificate request or a statement with the private key of this public key (SPKI in DER)."""

    public_key: bytes
    message: bytes


class InspectToken(Message, tag="ExamineToken", frozen=True):
    """Request for all that ``sigmill doctor`` checks, with one login, or none if ``log_in`` is false: then without keys."""

    public_keys: tuple[bytes, ...]
    algorithms: tuple[Algorithm, ...]
    log_in: bool


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Request to the child."""

    token: TokenAddress
    ask: ShowToken | CreateKey | AdoptKey | FindKeys | DescribeKey | SignMessage | InspectToken


class TokenFacts(Message, frozen=True):
    """Description of a token (CK_TOKEN_INFO); ``most_sessions``: 0 without limit, None where it is not known
    (CK_UNAVAILABLE_INFORMATION).
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
    """Key pair in the token."""

    label: str
    key_id: str
    kind: KeyKind
    public_key: bytes
    attributes: dict[str, bool]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Result of one search: ``problem`` is empty where the key may sign."""

    problem: str = ""
    code: str = ""


class FoundKeys(Message, frozen=True):
    """Result for each public key, in order; and all keys of the token, by label."""

    found: tuple[Found, ...]
    present: tuple[KeyFacts, ...]


class KeyDescription(Message, frozen=True):
    """A key as its token and module show it. ``mechanism``: CKA_KEY_GEN_MECHANISM by name; None where it is not shown.

    ``key_id``: CKA_ID in hex.
    """

    label: str
    serial: str
    manufacturer: str
    model: str
    hardware: str
    firmware: str
    module_path: str
    module_description: str
    module_library: str
    module_cryptoki: str
    module_sha256: str
    attributes: dict[str, bool]
    mechanism: str | None
    key_id: str = ""


class Signed(Message, frozen=True):
    """Signature over a message, verified: DER for ECDSA, else raw."""

    signature: bytes


class TokenReport(Message, tag="TokenExam", frozen=True):
    """Report about a token. ``unable``: algorithms whose mechanism does not sign there. ``keys`` in the order of the
    request; empty without a login, and then ``problem`` has the reason, if a login was tried.
    """

    facts: TokenFacts
    unable: tuple[Algorithm, ...]
    keys: tuple[Found, ...] = ()
    problem: str = ""
    pin_refused: bool = False


class Failed(Message, frozen=True):
    """Failure of the request; ``code`` is one of the closed set of reasons."""

    code: str
    problem: str
    pin_refused: bool = False


Answer = TokenFacts | KeyFacts | FoundKeys | KeyDescription | Signed | TokenReport | Failed
