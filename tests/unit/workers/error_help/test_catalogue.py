"""Help pages: each code has one, complete and consistent with its error class."""

from __future__ import annotations

import pytest

from queueing.errors import BY_REASON
from workers.error_help.catalogue import PAGES, TEXTS, Page


def test_every_error_code_has_a_page() -> None:
    """The texts are those of the closed set of reasons; the command line adds its own codes."""
    assert TEXTS.keys() == BY_REASON.keys()
    assert PAGES.keys() > TEXTS.keys()


@pytest.mark.parametrize("page", PAGES.values(), ids=list(PAGES))
def test_a_page_has_meaning_occurrence_and_steps(page: Page) -> None:
    """Each text is a sentence, and each page has a step with a command or a complete sentence."""
    assert page.title.endswith(".")
    assert page.means.endswith(".")
    assert page.met_by.rstrip(")`").endswith(".")
    assert page.steps
    for step in page.steps:
        assert step.text.endswith((".", ":"))


@pytest.mark.parametrize("code", TEXTS)
def test_the_exit_code_follows_the_error_class(code: str) -> None:
    """77 where the request was denied, 75 where a retry may succeed, else 1."""
    error = BY_REASON[code]
    expected = 77 if error.denied else 75 if error.retryable else 1
    assert PAGES[code].exit_code == expected
