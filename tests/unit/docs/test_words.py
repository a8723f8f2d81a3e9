"""Tests of the glossary and of the words that pages explain for their area."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from tests.support.pages import PAGES, ROOT

GLOSSARY = ROOT / "docs" / "glossary.md"
MOST_WORDS = 28
"""About as many as a reader learns in one sitting; a word of one area belongs on that area's page."""

_TABLE = re.compile(r"^\| word \| meaning \|\n\|---\|---\|\n((?:\|.*\n)+)", re.MULTILINE)


def words_on(page: Path) -> list[str]:
    """Words that the page's tables explain."""
    rows = [row for table in _TABLE.findall(page.read_text()) for row in table.splitlines()]
    return [row.split(" | ")[0].removeprefix("| ") for row in rows]


def test_the_glossary_is_short() -> None:
    """It has between 20 and 28 words."""
    assert 20 <= len(words_on(GLOSSARY)) <= MOST_WORDS


def test_no_word_is_explained_twice() -> None:
    """Neither in the glossary and for an area, nor for two areas."""
    places = Counter(word for page in PAGES for word in words_on(page))
    assert not [word for word, count in places.items() if count > 1]


def test_the_glossary_leads_to_each_page_that_explains_words() -> None:
    """A word that is not in it is found by its area."""
    pages = {page for page in PAGES if words_on(page)} - {GLOSSARY}
    links = re.findall(r"\]\(([a-z/]+\.md)#words[a-z-]*\)", GLOSSARY.read_text())
    assert {GLOSSARY.parent / link for link in links} == pages
