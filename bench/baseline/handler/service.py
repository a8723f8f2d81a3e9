"""The handler: aiohttp takes digests by JSON, a thread pool signs them, each thread with a session of its own.

    python -m bench.baseline.handler.service --module M --token T --key K --pin-file F --mechanism ecdsa
        --certificate C --private-key K --secret-file F --port N

It has TLS and a static bearer token, and nothing else: no queue, no limits, no verification, no log, and a crash of the module
ends it. A batch is signed by one thread, which costs the fewest hand-overs.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hmac
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from bench.ceiling.python_loop import MECHANISMS, initialise_with_locking

THREADS: Final = 8
MOST_BODY_BYTES: Final = 1024 * 1024


class ThreadSigner:
    """Signs with the session of the thread that asks; the first session logs in for all."""

    def __init__(self, options: argparse.Namespace) -> None:
        from pkcs11 import Mechanism

        self._token = initialise_with_locking(Path(options.module)).get_token(token_label=options.token)
        self._label = options.key
        self._mechanism = Mechanism[MECHANISMS[options.mechanism]]
        self._login = self._token.open(user_pin=Path(options.pin_file).read_text("utf-8").strip())
        self._local = threading.local()

    def open_session(self) -> None:
        """Open the session of this thread and find the key."""
        from pkcs11 import ObjectClass

        self._local.key = self._token.open().get_key(object_class=ObjectClass.PRIVATE_KEY, label=self._label)

    def sign(self, digests: list[bytes]) -> list[bytes]:
        """One signature for each digest, in order."""
        key: Any = self._local.key
        return [key.sign(digest, mechanism=self._mechanism) for digest in digests]


def application(signer: ThreadSigner, pool: ThreadPoolExecutor, secret: str) -> web.Application:
    """``POST /sign {"digests": [base64…]}`` → ``{"signatures": [base64…]}``."""
    expected = f"Bearer {secret}"

    async def sign(request: web.Request) -> web.Response:
        if not hmac.compare_digest(request.headers.get("Authorization", ""), expected):
            raise web.HTTPUnauthorized
        digests = [base64.b64decode(each) for each in (await request.json())["digests"]]
        signed = await asyncio.get_running_loop().run_in_executor(pool, signer.sign, digests)
        return web.json_response({"signatures": [base64.b64encode(each).decode() for each in signed]})

    made = web.Application(client_max_size=MOST_BODY_BYTES)
    made.router.add_post("/sign", sign)
    return made


async def _serve(options: argparse.Namespace) -> None:
    signer = ThreadSigner(options)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.private_key)
    secret = options.secret_file.read_text("utf-8").strip()
    with ThreadPoolExecutor(THREADS, initializer=signer.open_session) as pool:
        runner = web.AppRunner(application(signer, pool, secret), access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", options.port, ssl_context=context).start()
        await asyncio.Event().wait()


def main() -> None:
    """Serve until killed."""
    import uvloop

    parser = argparse.ArgumentParser(prog="python -m bench.baseline.handler.service")
    for name in ("module", "token", "key", "pin-file", "mechanism", "certificate", "private-key"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--secret-file", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(parser.parse_args()))


if __name__ == "__main__":
    main()
