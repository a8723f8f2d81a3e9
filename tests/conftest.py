"""Fixtures for every test: private redis-servers and SoftHSM token directories.

``redis_server``          one server for the session, emptied before each test that asks for it
``redis_server_factory``  servers of a test's own, to be stopped, killed, paused or configured by it
``own_redis``             one of those, with the defaults
``softhsm``               a token directory of the test's own
``softhsm_session``       one for the session, for tests that only add tokens under labels of their own
``shelf``                 tokens with keys, made once for the session, for tests that only sign with them
``make_rig``              rigs of a test's own, whose workers, lanes and Redis it may stop, kill or starve
``shared_rig``            Redis, worker and lanes for three tenants, for tests that leave them as they are
"""

from __future__ import annotations

import contextlib
import gc
import logging
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import hypothesis
import pytest

from tests.support.hsm.softhsm import SoftHsm
from tests.support.hsm.tokens import TokenShelf
from tests.support.log_fields import show_fields
from tests.support.redis.process import RedisProcess
from tests.support.rig.rig import MakeRig, Rig
from tests.support.rig.shared_rig import SharedRig, start_shared_rig

RedisFactory = Callable[..., RedisProcess]

# A shell starts what is put into the background with SIGINT ignored, and children inherit that: no test could
# send one then.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The time of one example depends on the machine, not on the code.
hypothesis.settings.register_profile("any-machine", deadline=None)
hypothesis.settings.load_profile("any-machine")


def pytest_sessionstart(session: pytest.Session) -> None:
    """A line such as ``lane.ended`` says little without its fields."""
    show_fields(session.config)


_BEGIN_FIRST: Final = ("faults", "compat", "integration", "security")
"""Suites whose files take longest; those of the unit tests fill up the end of a run."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long suites begin first. A name with an address in it is another one in each process: then nothing runs side by side."""
    for item in items:
        if re.search(r" at 0x[0-9a-f]{6,}", item.nodeid):
            raise pytest.UsageError(
                f"the name of a test has an address: give its parameters ids: {item.nodeid}"
            )
    items.sort(key=_place_in_a_run)  # stable: pytest-randomly's order within a suite stays


def pytest_collection_finish() -> None:
    """What is collected stays to the end: no collection of garbage looks at it again.

    A test that collects garbage itself, to see that nothing was left open, would look at all tests and their modules each time.
    """
    gc.collect()
    gc.freeze()


def _place_in_a_run(item: pytest.Item) -> int:
    places = (i for i, suite in enumerate(_BEGIN_FIRST) if item.nodeid.startswith(f"tests/{suite}/"))
    return next(places, len(_BEGIN_FIRST))


@pytest.fixture(autouse=True)
def _logger_is_restored() -> Iterator[None]:
    """A command that runs in this process sends its log to a stream that ends with the test."""
    logger = logging.getLogger("sigmill")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    yield
    logger.handlers[:], logger.propagate = handlers, propagate
    logger.setLevel(level)


@pytest.fixture(scope="session")
def _session_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisProcess]:
    with RedisProcess(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def redis_server(_session_redis: RedisProcess) -> RedisProcess:
    """The session's server, running and empty. Leave it as it is: to stop or configure one, use the factory."""
    _session_redis.start()
    _session_redis.flush()
    return _session_redis


@pytest.fixture
def redis_server_factory(tmp_path: Path) -> Iterator[RedisFactory]:
    """Make a started server: ``factory(password=…, appendonly=…, settings={…})``; all end with the test."""
    with contextlib.ExitStack() as stack:
        made = 0

        def make(
            *, password: str | None = None, appendonly: bool = False, settings: dict[str, str] | None = None
        ) -> RedisProcess:
            nonlocal made
            made += 1
            directory = tmp_path / f"redis-{made}"
            server = RedisProcess(directory, password=password, appendonly=appendonly, settings=settings)
            return stack.enter_context(server)

        yield make


@pytest.fixture
def own_redis(redis_server_factory: RedisFactory) -> RedisProcess:
    """A server that the test may stop, kill or pause."""
    return redis_server_factory()


@pytest.fixture
def softhsm(tmp_path: Path) -> SoftHsm:
    """An empty SoftHSM of the test's own."""
    return SoftHsm(tmp_path / "softhsm")


@pytest.fixture(scope="session")
def softhsm_session(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    """A SoftHSM for the session: add tokens, change none that another test made."""
    return SoftHsm(tmp_path_factory.mktemp("softhsm") / "softhsm")


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> TokenShelf:
    """Tokens with keys, by name; sign with them, and change none."""
    return TokenShelf(tmp_path_factory.mktemp("shelf"))


@pytest.fixture(scope="session")
def shared_rig(tmp_path_factory: pytest.TempPathFactory, shelf: TokenShelf) -> Iterator[SharedRig]:
    """A running rig; whatever a test writes into its Redis, it takes out again."""
    folder = tmp_path_factory.mktemp("shared-rig")
    with RedisProcess(folder / "redis", password="shared-redis-password") as redis:
        made = start_shared_rig(folder / "rig", redis, shelf)
        try:
            yield made
        finally:
            made.rig.__exit__()


@pytest.fixture
def make_rig(tmp_path: Path, shelf: TokenShelf) -> Iterator[MakeRig]:
    """``make_rig(appendonly=…, redis=False, **settings of Rig)``; everything ends with the test."""
    with contextlib.ExitStack() as stack:

        def make(*, appendonly: bool = False, redis: bool = True, **settings: Any) -> Rig:
            server = RedisProcess(tmp_path / "redis", password="rig-password", appendonly=appendonly)
            stack.callback(server.close)
            if redis:
                server.start()
            folder = settings.pop("directory", tmp_path / "rig")
            rig = Rig(directory=folder, redis=server, shelf=shelf, **settings)
            return stack.enter_context(rig)

        yield make
