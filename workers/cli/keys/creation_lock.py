"""Lock of the commands that make keys or statements: one at a time on a host."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from queueing.errors import ConfigError
from workers.cli.shell.interrupts import with_clean_up

if TYPE_CHECKING:
    from workers.config.loading import ServiceScope


@contextlib.contextmanager
def one_creation_at_a_time(scope: ServiceScope) -> Iterator[None]:
    """Hold off other operators from here to the written file: two keys would get one version and one label, two statements one file.

    A lost terminal or SIGTERM ends the creation as Ctrl-C does: what it made is named and on record. Raises ``ConfigError``
    where another command on this host is creating a key now.
    """
    descriptor = os.open(scope.file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with with_clean_up():
            yield
    except BlockingIOError:
        raise ConfigError(
            str(scope.file),
            "",
            "another command is creating a key, or its statement, on this host now",
            "Wait for it, look at `sigmill keys list`, then try again.",
        ) from None
    finally:
        os.close(descriptor)
