"""The baseline's worker: stock arq, one digest per job, signing in its own process through python-pkcs11.

    python -m bench.baseline.worker --socket S --password-file F --queue Q --module M --token T --key K
        --pin-file F --mechanism ecdsa --input-bytes 32

Tuned as arq's documentation says: many jobs at once, a short poll, uvloop, a fast serializer (msgpack). The
signature is made in the event loop, which is the cheapest way where it takes less than a thread's hand-over.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any, Final

import msgspec
from arq.connections import RedisSettings
from arq.worker import Worker, func

from bench.ceiling.python_loop import MECHANISMS, initialise_with_locking

MAX_JOBS: Final = 100
POLL_DELAY_S: Final = 0.005  # arq's default is 0.5; a shorter one costs CPU and brings nothing
KEEP_RESULT_S: Final = 600


def redis_settings(socket: str, password_file: Path) -> RedisSettings:
    """Address of the baseline's queue."""
    return RedisSettings(unix_socket_path=socket, password=password_file.read_text("utf-8").strip())


def open_key(options: argparse.Namespace) -> tuple[Any, Any]:
    """The private key, found once, and its mechanism."""
    from pkcs11 import Mechanism, ObjectClass

    token = initialise_with_locking(Path(options.module)).get_token(token_label=options.token)
    session = token.open(user_pin=Path(options.pin_file).read_text("utf-8").strip())
    key = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=options.key)
    return key, Mechanism[MECHANISMS[options.mechanism]]


async def _work(options: argparse.Namespace) -> None:
    key, mechanism = open_key(options)

    async def sign(_: dict[Any, Any], digest: bytes) -> bytes:
        signature: bytes = key.sign(digest, mechanism=mechanism)
        return signature

    worker = Worker(
        # arq's protocol wants *args: any; a function with one argument is what its documentation shows
        functions=[func(sign, name="sign", keep_result=KEEP_RESULT_S)],  # type: ignore[arg-type]
        queue_name=options.queue,
        redis_settings=redis_settings(options.socket, options.password_file),
        max_jobs=MAX_JOBS,
        poll_delay=POLL_DELAY_S,
        job_serializer=msgspec.msgpack.encode,
        job_deserializer=msgspec.msgpack.decode,
        handle_signals=False,
    )
    await worker.async_run()


def main() -> None:
    """Serve until killed."""
    import uvloop

    parser = argparse.ArgumentParser(prog="python -m bench.baseline.worker")
    for name in ("socket", "queue", "module", "token", "key", "pin-file", "mechanism"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--input-bytes", type=int, required=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_work(parser.parse_args()))


if __name__ == "__main__":
    main()
