"""Names as they may appear in keys, labels, files and logs: short, lower case, without surprises."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Final

import msgspec

NAME_PATTERN: Final = r"^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?\Z"
"""One pattern for tenants, clients, keys and tokens: no braces (Redis hash tags), no slashes (KEY/VERSION)."""

Name = Annotated[str, msgspec.Meta(pattern=NAME_PATTERN)]

UncheckedName = Annotated[str, msgspec.Meta(max_length=63)]
"""Text of the length of a name, to be checked with ``is_name``: where the same names are read again and again."""

_pattern: Final = re.compile(NAME_PATTERN)


@lru_cache(maxsize=4096)
def is_name(text: str) -> bool:
    """Whether this is a name. Remembers the last 4,096 texts: to be asked of ``UncheckedName`` only, whose length is bounded."""
    return _pattern.search(text) is not None
