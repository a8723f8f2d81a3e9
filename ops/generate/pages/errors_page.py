"""``docs/reference/errors.md``, from the error tree and the pages of ``sigmill explain``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ops.generate.pages.markdown import first_sentence, table
from queueing.errors import BY_REASON
from workers.cli.shell.output import Tally
from workers.error_help.catalogue import PAGES

if TYPE_CHECKING:
    from queueing.errors import SigningError
    from workers.error_help.catalogue import Page

_HEAD: Final = """\
# Errors

<!-- Written by `make generate` from queueing/errors and workers/error_help; do not edit. -->

An error code appears in brackets after a message (`error: … [key.unknown]`), as `code` in JSON, as the `reason` label of
`sigmill_failures_total`, and as the reason of a dead letter. The set is closed: codes may be added and are never renamed.
No message contains a PIN, a key, a digest or a payload.

In JSON an error is `{"code", "message", "retryable", "retry_after_s", "hint"}`. `retry_after_s` is null if the client's own
backoff is sufficient. `sigmill explain CODE` prints the explanations below on a terminal.

"""

_EXIT: Final = """\

## Exit codes

If several apply, the first one in this order is returned.

| Code | Meaning |
| --- | --- |
| 0 | everything succeeded |
| 77 | at least one request was denied; a retry does not help |
| 1 | at least one request failed permanently |
| 75 | at least one request failed temporarily; retry later |
| 2 | wrong usage, or an error in a configuration file (`usage`, `config.invalid`) |
| 130 | interrupted |
"""


def page() -> str:
    """Text of the page in Markdown."""
    rows = [_row(code, BY_REASON[code]) for code in sorted(BY_REASON)]
    parts = [_HEAD, table(("Code", "Exit", "Retry?", "Meaning", "Remedy"), rows), _EXIT]
    return "".join([*parts, *(_explained(PAGES[code]) for code in sorted(PAGES))])


def _explained(page: Page) -> str:
    steps = "".join(
        f"- {step.text}\n" + (f"\n  ```console\n  $ {step.command}\n  ```\n" if step.command else "")
        for step in page.steps
    )
    return f"\n## {page.code}\n\n{page.title} {page.means}\n\nWho sees it: {page.met_by}\n\n{steps}"


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
