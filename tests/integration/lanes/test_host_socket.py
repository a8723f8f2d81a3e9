"""Sockets between processes of one host: bound, or told by the setting that names them."""

from __future__ import annotations

import gc
import socket
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from queueing.errors import ConfigError
from tests.support.cancelling import nothing_unclosed
from workers.host_socket import bind_at
from workers.issuer.refresh_socket import RefreshListener


def bound(place: Path) -> AbstractContextManager[socket.socket]:
    return bind_at(place, socket.SOCK_STREAM, file="sigmill.toml", key="tokens.acme.socket")


def test_a_socket_that_a_former_process_left_is_replaced(tmp_path: Path) -> None:
    """Any user may connect: the lane looks at the peer's uid."""
    place = tmp_path / "lane.sock"
    with bound(place):
        pass
    with bound(place):
        assert place.stat().st_mode & 0o777 == 0o666


def test_a_process_does_not_take_the_socket_of_one_that_runs(tmp_path: Path) -> None:
    """The second one ends with an error. Before, it took the place, and the first one waited for ever."""
    with bound(tmp_path / "lane.sock") as listener:
        listener.listen()
        with pytest.raises(ConfigError, match="listens on this socket already"):
            bound(tmp_path / "lane.sock").__enter__()
        with socket.socket(socket.AF_UNIX) as worker:
            worker.connect(str(tmp_path / "lane.sock"))
    refreshing = RefreshListener(tmp_path / "refresh.sock")
    with pytest.raises(ConfigError, match="listens on this socket already"):
        RefreshListener(tmp_path / "refresh.sock")
    refreshing.close()
    RefreshListener(tmp_path / "refresh.sock").close()


PLACES = {
    "no folder": "none/lane.sock",
    "a path of 200 bytes": "x" * 200,
    "a folder": ".",
    "a file": "tenant.toml",
    "a path with a NUL": "lane\0.sock",
}


@pytest.mark.parametrize("name", PLACES.values(), ids=PLACES)
def test_a_place_where_it_cannot_listen_is_told_with_its_setting(tmp_path: Path, name: str) -> None:
    """Nothing is removed, and no socket is left open. Before, each was a traceback, and a file was removed."""
    (tmp_path / "tenant.toml").write_text("epoch = 1\n")
    with nothing_unclosed():
        with pytest.raises(ConfigError) as refused:
            bound(tmp_path / name).__enter__()
        with pytest.raises(ConfigError) as refresher:
            RefreshListener(tmp_path / name)
        gc.collect()
    assert (refused.value.file, refused.value.key) == ("sigmill.toml", "tokens.acme.socket")
    assert (refresher.value.file, refresher.value.key) == ("issuer.toml", "issuer.refresh_socket")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("tenant.toml", "epoch = 1\n")]
