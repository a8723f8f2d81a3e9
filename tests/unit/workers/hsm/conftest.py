"""Searches of fake sessions: python-pkcs11's own need a session of a real module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from pkcs11 import Attribute
from pkcs11.exceptions import PKCS11Error


class FakeSearch:
    """Search of a fake session by its ``get_objects``, in one batch; it is open until it is finalised, also if refused."""

    open_searches: ClassVar[int]
    refusal: ClassVar[PKCS11Error | None]

    def __init__(self, session: Any, template: dict[Attribute, Any], batch_size: int) -> None:
        self._session, self._template = session, template
        self._open = False

    def __enter__(self) -> Iterator[Iterator[Any]]:
        self._open = True
        FakeSearch.open_searches += 1
        if self.refusal is not None:
            raise self.refusal
        return iter([self._session.get_objects(self._template)])

    def __exit__(self, *_: object) -> None:
        self._finalize()

    def _finalize(self) -> None:
        if self._open:
            self._open = False
            FakeSearch.open_searches -= 1


@pytest.fixture(autouse=True)
def search(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakeSearch]]:
    """Fake searches in place of python-pkcs11's; each is finalised by the end of the test."""
    monkeypatch.setattr("pkcs11._pkcs11.SearchIter", FakeSearch)
    FakeSearch.open_searches, FakeSearch.refusal = 0, None
    yield FakeSearch
    assert FakeSearch.open_searches == 0
