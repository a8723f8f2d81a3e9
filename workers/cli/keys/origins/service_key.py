"""Signatures of the service key in ceremonies: of openings, statements, and its own certificate."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from workers.cli.shell.key_events import keep_key_event
from workers.config.service_file import SERVICE, SERVICE_KEY_NAME, SERVICE_KEY_VERSION
from workers.token_admin.owned_tokens import admin_for

if TYPE_CHECKING:
    from workers.config.loading import ServiceScope
    from workers.config.service_file import ServiceKey


def sign_by_service_key(scope: ServiceScope, key: ServiceKey, message: bytes) -> bytes:
    """Signature of the service key over ``message``, made in its token; raises as ``TokenAdmin.sign_message``.

    No lane counts this signature: its event, with the SHA-256 of the message, is kept before it is made.
    """
    keep_key_event(
        scope,
        "signed",
        tenant="",
        key=SERVICE_KEY_NAME,
        version=SERVICE_KEY_VERSION,
        public_key=key.public_key,
        statement_sha256=hashlib.sha256(message).digest(),
    )
    return admin_for(scope, key.token, owner=SERVICE).sign_message(key.public_key.spki, message)
