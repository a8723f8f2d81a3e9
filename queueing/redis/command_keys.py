"""Key of a command, by which a Redis Cluster chooses the node: https://redis.io/docs/latest/develop/reference/key-specs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_WITHOUT_KEY: Final = frozenset(
    [
        "ACL",
        "CLIENT",
        "CLUSTER",
        "CONFIG",
        "DBSIZE",
        "ECHO",
        "FUNCTION",
        "INFO",
        "LASTSAVE",
        "LATENCY",
        "MEMORY",
        "PING",
        "PUBLISH",
        "SCRIPT",
        "SLOWLOG",
        "TIME",
        "UNWATCH",
        "WAIT",
    ]
)
_KEY_AFTER: Final = {"XREAD": "STREAMS", "XREADGROUP": "STREAMS"}
_WITH_COUNT: Final = frozenset({"EVAL", "EVALSHA", "FCALL"})
_KEY_AT: Final = {**dict.fromkeys(_WITH_COUNT, 3), "OBJECT": 2}


def key_of(args: Sequence[Any]) -> str | bytes | None:
    """The first key of a command; None where it has none."""
    name = _word(args[0]).split()[0]  # redis-py gives "SCRIPT LOAD" as one
    if name in _WITHOUT_KEY:
        return None
    at = _KEY_AT.get(name, 1)
    if name in _KEY_AFTER:
        at = [_word(word) for word in args].index(_KEY_AFTER[name]) + 1
    if len(args) <= at or (name in _WITH_COUNT and not int(args[2])):
        return None
    key = args[at]
    return key if isinstance(key, bytes) else str(key)


def _word(arg: Any) -> str:
    return (arg.decode("latin-1") if isinstance(arg, bytes) else str(arg)).upper()
