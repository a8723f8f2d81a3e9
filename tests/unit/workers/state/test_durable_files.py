"""Files of the state directory, the write-ahead log and the configuration: a power cut loses none that was written."""

from __future__ import annotations

from pathlib import Path

import pytest

from queueing.config.secrets import Secret
from queueing.protocol.client_keys import ClientKey
from queueing.protocol.stop_orders import StopOrder, sign_order
from tests.support.disk.calls import DiskCalls
from tests.support.fakes.config_files import Site
from tests.unit.workers.journal.test_recovery import intent, outcome, released, write
from workers.audit.archive import archive
from workers.audit.seal import SEAL_NAME, seal
from workers.config.loading import load_scope
from workers.config.tenant_edits import revoke_client
from workers.config.tenant_writer import edit_tenant
from workers.journal.event_records import KeyRecord
from workers.journal.event_spool import EventSpool
from workers.state.adopted_config import AdoptedFiles
from workers.state.directory import own_folder
from workers.state.drained_tokens import DrainedTokens
from workers.state.refused_pins import RefusedPins
from workers.state.stop_orders import StopOrderFolder

PIN = Secret("739215")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> DiskCalls:
    calls = DiskCalls()
    calls.record(monkeypatch)
    return calls


def test_the_seal_of_a_log_is_durable(tmp_path: Path, disk: DiskCalls) -> None:
    """The log's disk is wiped on the strength of ``seal.json``: an empty one after a power cut would be a loss."""
    write(tmp_path, intent(b"a"), outcome(b"a"), released(b"a"))
    seal(tmp_path)
    disk.assert_replaced(tmp_path / SEAL_NAME)


def test_each_file_of_an_archive_is_durable(tmp_path: Path, disk: DiskCalls) -> None:
    """Segments and seal are on the archive's disk when the command returns, with the names of their folders."""
    log = tmp_path / "wal"
    log.mkdir()
    write(log, intent(b"a"), outcome(b"a"), released(b"a"))
    made = seal(log)
    disk.made.clear()
    archive(log, made, tmp_path / "kept" / "host-1")
    for name in (made.segments[0].name, SEAL_NAME):
        disk.assert_replaced(tmp_path / "kept" / "host-1" / name)


def test_an_edited_tenant_file_is_durable(tmp_path: Path, disk: DiskCalls) -> None:
    """A client that the command reported as revoked stays revoked after a power cut."""
    scope = load_scope(Site(tmp_path).write().config)
    disk.made.clear()
    edit_tenant(scope, "acme", lambda text: revoke_client(text, "build-1"))
    disk.assert_replaced(scope.tenant_file("acme"))


def test_a_stop_order_is_durable(tmp_path: Path, disk: DiskCalls) -> None:
    """A stop order that a worker acknowledged is in force after a power cut."""
    order = StopOrder(
        audience="test",
        order_id=bytes(16),
        issued_at_ms=0,
        operator="ada",
        scope="tenant",
        tenant="acme",
    )
    signed = sign_order(order, ClientKey.generate())
    StopOrderFolder(tmp_path / "state").keep(order, signed)
    disk.assert_replaced(tmp_path / "state" / "orders" / f"{order.hex_id}.order")


@pytest.mark.parametrize("tenants", [1, 100])
def test_adopted_copies_are_durable(tmp_path: Path, disk: DiskCalls, tenants: int) -> None:
    """Few copies by an fsync each, many by one sync(2) before any is renamed."""
    names = [f"tenant-{number}" for number in range(tenants)]
    AdoptedFiles(tmp_path / "state").keep("epoch = 1\n", dict.fromkeys(names, "epoch = 1\n"))
    folder = tmp_path / "state" / "adopted"
    for file in (folder / "service.toml", *(folder / "tenants" / f"{name}.toml" for name in names)):
        disk.assert_replaced(file)
    syncs = [call.name for call in disk.made].count("sync")
    assert syncs == (0 if tenants == 1 else 1)


def test_a_refused_pin_is_durable(tmp_path: Path, disk: DiskCalls) -> None:
    """A PIN that the token refused is not tried again after a power cut; nor by other hosts."""
    RefusedPins(tmp_path / "state").remember("acme", PIN)
    folder = tmp_path / "state" / "refused-pins"
    disk.assert_replaced(folder / "acme")
    disk.assert_replaced(folder / ".told" / "acme")


def test_a_refused_pin_of_another_host_is_durable(tmp_path: Path, disk: DiskCalls) -> None:
    """The warning of another host holds after a power cut, also while Redis is away."""
    pins = RefusedPins(tmp_path / "state")
    pins.replace_reported({"acme": bytes(17) + b"x"})
    file = tmp_path / "state" / "refused-pins" / ".heard" / "acme"
    disk.assert_replaced(file)
    pins.replace_reported({})
    disk.assert_removed(file)


def test_a_resumed_token_stays_resumed(tmp_path: Path, disk: DiskCalls) -> None:
    """A PIN that the operator released is not refused again after a power cut."""
    pins = RefusedPins(tmp_path / "state")
    pins.remember("acme", PIN)
    pins.forget("acme")
    disk.assert_removed(tmp_path / "state" / "refused-pins" / "acme")


def test_the_drain_of_a_token_and_its_end_are_durable(tmp_path: Path, disk: DiskCalls) -> None:
    """A token that was drained, or resumed, is so after a power cut."""
    tokens = DrainedTokens(tmp_path / "state")
    tokens.drain("acme")
    disk.assert_created(tmp_path / "state" / "drained-tokens" / "acme")
    tokens.resume("acme")
    disk.assert_removed(tmp_path / "state" / "drained-tokens" / "acme")


def test_events_that_wait_for_the_log_are_durable(tmp_path: Path, disk: DiskCalls) -> None:
    """An event that a command reported as kept reaches the log after a power cut; a removed one does not come back."""
    spool = EventSpool(tmp_path)
    spool.put(KeyRecord(1, "acme", "created", "release"))
    (kept,) = spool.waiting()
    disk.assert_replaced(kept.path)
    spool.remove(kept)
    disk.assert_removed(kept.path)


def test_the_refusal_of_a_file_without_events_is_durable(tmp_path: Path, disk: DiskCalls) -> None:
    """A file that was reported as unreadable is not read, and reported, again after a power cut."""
    file = tmp_path / "events" / "000000000000001-0.event"
    file.parent.mkdir()
    file.write_bytes(b"no event")
    disk.made.clear()
    spool = EventSpool(tmp_path)
    (wrong,) = spool.waiting()
    spool.refuse(wrong)
    disk.assert_renamed(file, file.with_suffix(".unreadable"))


def test_the_folder_of_the_log_is_durable(tmp_path: Path, disk: DiskCalls) -> None:
    """A segment is lost with the name of its folder."""
    own_folder(tmp_path / "state" / "wal")
    disk.assert_folders_durable()
