"""Files between sealer and worker: what is no request is removed, and only the statement that was asked for is kept."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from queueing.errors import ProofInvalid
from tests.unit.queueing.transparency.test_origin_statements import (
    EPOCH_KEY,
    ORIGIN,
    SERVICE,
    signed,
    statement,
)
from workers.record.exchange import (
    Head,
    SealerStatus,
    StatementRequest,
    StatementRequests,
    read_status,
    write_status,
)

REQUEST = StatementRequest(
    tenant="acme", epoch_key=EPOCH_KEY.public_key, head=Head(origin=ORIGIN, size=7, root=bytes(32))
)


def test_a_request_waits_until_it_is_answered(tmp_path: Path) -> None:
    requests = StatementRequests(tmp_path)
    requests.ask(REQUEST)
    requests.ask(REQUEST)
    assert list(requests.waiting()) == [REQUEST]
    note = signed(statement().text)
    requests.answer(REQUEST, note, SERVICE)
    assert len(requests) == 0
    (kept,) = (tmp_path / "record" / "logs" / "acme" / "statements").iterdir()
    assert kept.read_bytes() == note


@pytest.mark.parametrize("old, new", [("from 7", "from 8"), ("acme", "globex")])
def test_another_statement_than_the_one_asked_for_is_refused(tmp_path: Path, old: str, new: str) -> None:
    requests = StatementRequests(tmp_path)
    requests.ask(REQUEST)
    with pytest.raises(ProofInvalid):
        requests.answer(REQUEST, signed(statement().text.replace(old, new)), SERVICE)
    assert list(requests.waiting()) == [REQUEST]


def test_a_statement_about_another_root_is_refused(tmp_path: Path) -> None:
    requests = StatementRequests(tmp_path)
    other = msgspec.structs.replace(REQUEST, head=Head(origin=ORIGIN, size=7, root=bytes([1]) * 32))
    requests.ask(other)
    with pytest.raises(ProofInvalid, match="not the one that was requested"):
        requests.answer(other, signed(statement().text), SERVICE)


def test_a_statement_for_a_log_that_was_given_up_is_not_put_beside_the_new_one(tmp_path: Path) -> None:
    """A verifier of the new log would refuse it, and the key of the new log would stay uncertified."""
    requests = StatementRequests(tmp_path)
    requests.ask(REQUEST)
    requests.forget_other_keys(b"")
    assert len(requests) == 0
    requests.answer(REQUEST, signed(statement().text), SERVICE)
    assert not (tmp_path / "record" / "logs" / "acme" / "statements").exists()
    requests.ask(msgspec.structs.replace(REQUEST, head=Head(origin=ORIGIN, size=8, root=bytes(32))))
    requests.answer(REQUEST, signed(statement().text), SERVICE)
    assert len(requests) == 1


def test_a_file_that_is_no_request_is_removed_and_the_others_wait(tmp_path: Path) -> None:
    """A draft, whose writer has not renamed it yet, stays."""
    requests = StatementRequests(tmp_path)
    requests.ask(REQUEST)
    folder = tmp_path / "sealer" / "requests"
    (asked,) = folder.iterdir()
    for name, content in (("a+1", b""), ("b+2", b"\xc1"), ("c+3", bytes(5000)), ("new", b"being written")):
        (folder / name).write_bytes(content)
    assert list(requests.waiting()) == [REQUEST]
    assert {file.name for file in folder.iterdir()} == {asked.name, "new"}


def test_requests_of_sealers_that_are_no_more_are_removed(tmp_path: Path) -> None:
    requests = StatementRequests(tmp_path)
    requests.ask(REQUEST)
    requests.forget_other_keys(EPOCH_KEY.public_key)
    assert len(requests) == 1
    requests.forget_other_keys(bytes(32))
    assert len(requests) == 0


def test_a_status_is_read_as_it_was_written_or_not_at_all(tmp_path: Path) -> None:
    assert read_status(tmp_path) is None
    status = SealerStatus(pid=1, started_ns=2, covered_ns=3, entries={"acme": 4})
    write_status(tmp_path, status)
    assert read_status(tmp_path) == status
    (tmp_path / "sealer" / "status").write_bytes(b"\xc1")
    assert read_status(tmp_path) is None
