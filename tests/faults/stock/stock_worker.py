"""A stock ``arq.Worker`` that signs, written as arq's documentation would have it: the call of the module in a thread.

    python -m tests.faults.stock.stock_worker --socket S --password-file F --module M --token T --key K --pin-file F

One digest per job, signed with ECDSA. Everything but the time-out of a job (which sets how long a dead worker's jobs
stay locked) is arq's default.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import msgspec
from arq.connections import RedisSettings
from arq.worker import Worker, func

from bench.ceiling.python_loop import initialise_with_locking

SESSIONS = 10
JOB_TIMEOUT_S = 1
"""arq locks a job for this and ten seconds more."""


def _keys(options: argparse.Namespace) -> SimpleQueue[Any]:
    """The private key, once for each session: a session does one operation at a time."""
    from pkcs11 import ObjectClass

    token = initialise_with_locking(Path(options.module)).get_token(token_label=options.token)
    pin = Path(options.pin_file).read_text("utf-8").strip()
    sessions = [token.open(user_pin=pin), *(token.open() for _ in range(SESSIONS - 1))]
    keys: SimpleQueue[Any] = SimpleQueue()
    for session in sessions:
        keys.put(session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=options.key))
    return keys


async def _work(options: argparse.Namespace) -> None:
    from pkcs11 import Mechanism

    keys = _keys(options)

    def sign_one(digest: bytes) -> bytes:
        key = keys.get()
        try:
            signature: bytes = key.sign(digest, mechanism=Mechanism.ECDSA)
            return signature
        finally:
            keys.put(key)

    async def sign(_: dict[Any, Any], digest: bytes) -> bytes:
        return await asyncio.to_thread(sign_one, digest)

    password = Path(options.password_file).read_text("utf-8").strip()
    worker = Worker(
        functions=[func(sign, name="sign")],  # type: ignore[arg-type]  # as in arq's documentation
        redis_settings=RedisSettings(unix_socket_path=options.socket, password=password),
        job_timeout=JOB_TIMEOUT_S,
        job_serializer=msgspec.msgpack.encode,
        job_deserializer=msgspec.msgpack.decode,
    )
    try:
        await worker.async_run()
    finally:
        await worker.close()


def main() -> None:
    """Serve until a signal."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.stock.stock_worker")
    for name in ("socket", "password-file", "module", "token", "key", "pin-file"):
        parser.add_argument(f"--{name}", required=True)
    asyncio.run(_work(parser.parse_args()))


if __name__ == "__main__":
    main()
