"""The pages for users and operators, and the command lines that they show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    {ROOT / "README.md", ROOT / "bench" / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("ops/**/*.md")}
)
_PROMPTS = {"console": ("$ ", "# "), "": ("$ ",)}
"""Where lines without a prompt are what a command said. In ``sh`` every line is a command."""


def command_lines(page: Path) -> Iterator[str]:
    """Command lines of the page's blocks, without prompt and comment."""
    return command_lines_of(page.read_text())


def command_lines_of(markdown: str) -> Iterator[str]:
    """The same of a part of a page."""
    language, block = None, ""
    for line in markdown.splitlines():
        text = line.strip()
        if not text.startswith("```"):
            block += f"{text}\n"
        elif language is None:
            language, block = text.removeprefix("```"), ""
        else:
            yield from _typed(language, block.replace("\\\n", " "))
            language = None


def _typed(language: str, block: str) -> Iterator[str]:
    for line in block.splitlines():
        if language in {"sh", "bash"}:
            words = line
        elif prompt := next((p for p in _PROMPTS.get(language, ()) if line.startswith(p)), ""):
            words = line.removeprefix(prompt)
        else:
            continue
        if command := " ".join(words.split(" # ")[0].split()):
            yield command
