"""``docs/reference/errors.md``, from the tree of errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ops.generate.markdown import first_sentence, table
from queueing.errors import BY_REASON
from workers.cli.output import Tally

if TYPE_CHECKING:
    from queueing.errors import SigningError

_HEAD: Final = """\
# Errors

<!-- Written by `make generate` from queueing/errors.py; do not edit. -->

One code is at once what a person sees in brackets (`error: … [key.unknown]`), the `code` in JSON, the `reason` label of
`sigmill_failures_total`, and the reason of a dead letter. The set is closed: codes are added, never renamed. No message
carries a PIN, a key, a digest or a payload.

In JSON an error is `{"code", "message", "retryable", "retry_after_s", "hint"}`; `retry_after_s` is null where the client's
own backoff is as good.

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
    return _HEAD + table(("Code", "Exit", "Again?", "Meaning", "What helps"), rows) + _EXIT


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
