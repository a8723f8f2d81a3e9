"""``docs/reference/errors.md``, from the tree of errors and the pages of ``sigmill explain``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ops.generate.markdown import first_sentence, table
from queueing.errors import BY_REASON
from workers.cli.shell.output import Tally
from workers.error_help.catalogue import PAGES

if TYPE_CHECKING:
    from queueing.errors import SigningError
    from workers.error_help.catalogue import Page

_HEAD: Final = """\
# Errors

<!-- Written by `make generate` from queueing/errors.py and workers/explanations; do not edit. -->

One code is at once what a person sees in brackets (`error: … [key.unknown]`), the `code` in JSON, the `reason` label of
`sigmill_failures_total`, and the reason of a dead letter. The set is closed: codes are added, never renamed. No message
carries a PIN, a key, a digest or a payload.

In JSON an error is `{"code", "message", "retryable", "retry_after_s", "hint"}`; `retry_after_s` is null where the client's
own backoff is as good. What is written below on each code, `sigmill explain CODE` says on a terminal.

"""

_EXIT: Final = """\

## Exit codes

| Code | When |
| --- | --- |
| 0 | everything was done |
| 77 | something was denied: asking again changes nothing |
| 1 | else: something failed for good |
| 75 | else: something should be tried again later |
| 2 | usage, or a mistake in a configuration file (`usage`, `config.invalid`) |
| 130 | interrupted |
"""


def page() -> str:
    """The page as Markdown."""
    rows = [_row(code, BY_REASON[code]) for code in sorted(BY_REASON)]
    parts = [_HEAD, table(("Code", "Exit", "Again?", "Meaning", "What helps"), rows), _EXIT]
    return "".join([*parts, *(_explained(PAGES[code]) for code in sorted(PAGES))])


def _explained(page: Page) -> str:
    steps = "".join(
        f"- {step.text}\n" + (f"\n  ```console\n  $ {step.command}\n  ```\n" if step.command else "")
        for step in page.steps
    )
    return f"\n## {page.code}\n\n{page.title} {page.means}\n\nWho meets it: {page.met_by}\n\n{steps}"


def _row(code: str, error: type[SigningError]) -> tuple[str, ...]:
    tally = Tally()
    tally.add(error(""))
    return (
        f"`{code}`",
        str(int(tally.exit_code())),
        "later" if error.retryable else "no",
        first_sentence(error),
        error.hint,
    )
