"""Names as they may appear in keys, labels, files and logs: short, lower case, without surprises."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

NAME_PATTERN: Final = r"^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?\Z"
"""One pattern for tenants, clients, keys and tokens: no braces (Redis hash tags), no slashes (KEY/VERSION)."""

Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]
