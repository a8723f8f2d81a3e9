"""``sigmill audit export|verify|find``: from the record of a host to a verified answer, without a service."""

from __future__ import annotations

import base64
import gc
import hashlib
import io
import json
import os
import shutil
import weakref
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click import UsageError
from click.testing import CliRunner, Result

from queueing.errors import ConfigError, InputUnreadable
from queueing.protocol.jobs import job_id_of
from queueing.transparency.event_entries import EVENT_KINDS
from queueing.transparency.notes import Ed25519NoteKey
from tests.support.farm.certified_logs import SERVICE, certify
from tests.support.farm.logged_events import events_of
from tests.support.farm.logged_jobs import CLIENT_KEY, SECRET_DIGEST, append, intent, job
from tests.support.farm.sealed_logs import EPOCH_KEY, seal
from tests.support.keys import spki_of
from workers.cli.audit import audit
from workers.cli.audit.entry_meter import EntryMeter
from workers.cli.shell.output import Output
from workers.journal.segment_writer import SegmentWriter
from workers.record.bundle.others import MOST_OTHERS
from workers.record.bundle.reader import BundleReader
from workers.record.bundle.verification import OriginVerifier
from workers.record.bundle.writer import FolderOfAnother, export
from workers.record.folder import log_folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Bundle of two jobs of a tenant, with files of the keys beside it."""
    writer = SegmentWriter(tmp_path / "state" / "wal")
    append(writer, *job("acme", 1), *job("acme", 2))
    seal(tmp_path / "state")
    head = export(log_folder(tmp_path / "state", "acme"), tmp_path / "bundle").checkpoint
    (tmp_path / "vkeys").write_text(f"# of host 1\n{Ed25519NoteKey(head.origin, EPOCH_KEY).verifier.text}\n")
    spki = spki_of(CLIENT_KEY)
    (tmp_path / "clients").write_text(f"build-1 {base64.b64encode(spki).decode()}\n")
    return tmp_path / "bundle"


def run(*words: object, as_json: bool = True) -> Result:
    return CliRunner().invoke(audit, [*map(str, words)], obj=Output(as_json=as_json), standalone_mode=False)


def verify(bundle: Path, *more: object, as_json: bool = True) -> Result:
    return run("verify", bundle, "--vkeys", bundle.parent / "vkeys", *more, as_json=as_json)


def test_an_exported_record_is_verified_with_the_keys_of_the_service_and_of_the_clients(bundle: Path) -> None:
    result = verify(bundle, "--clients", bundle.parent / "clients")
    assert result.return_value == 0
    line = json.loads(result.stdout)
    assert (line["entries"], line["signatures"], line["client_signatures"], line["problems"]) == (7, 2, 2, 0)


def test_without_the_clients_keys_it_says_that_their_signatures_were_not_verified(bundle: Path) -> None:
    result = verify(bundle, as_json=False)
    assert "client signatures were not verified" in result.stderr
    assert "1 origin: everything holds" in result.stderr


def test_what_is_wrong_is_a_line_with_code_and_place_and_exit_code_1(bundle: Path) -> None:
    (items,) = bundle.glob("*/items/000")
    items.unlink()
    result = verify(bundle, as_json=False)
    assert result.return_value == 1
    origin = items.parts[-3]
    assert f"entry.invalid {origin}/2 the items of its 2 digests are missing" in result.stdout


def test_the_log_its_range_and_its_times_are_told(bundle: Path) -> None:
    """An auditor who asked for a month sees what the bundle is of."""
    line = json.loads(verify(bundle, "--tenant", "acme").stdout)
    assert line["log"] == f"sigmill/prod/acme/{line['origin']}"
    assert (line["size"], line["first"], line["end"]) == (7, 0, 7)
    assert (line["from_at"], line["to_at"]) == (
        "1970-01-01T00:00:00.001+00:00",
        "1970-01-01T00:00:00.002+00:00",
    )
    text = verify(bundle, as_json=False).stderr
    assert f"entries 0 to 6 of the 7 of {line['log']}, from 1970-01-01T00:00:00.001+00:00 to" in text
    file = bundle / line["origin"] / "range"
    file.write_text("0 0\n")
    assert f"none of the 7 entries of {line['log']}" in verify(bundle, as_json=False).stderr


def test_a_clock_that_was_set_back_is_told_with_its_place(tmp_path: Path) -> None:
    """It is no problem: the order holds. An event that waited for a worker, and the copy of an outcome, say nothing of the clock."""
    hour_ms = 3_600_000
    first, second = job("acme", 1), job("acme", 2)
    later = [msgspec.structs.replace(record, at_ms=5 * hour_ms) for record in first]
    writer = SegmentWriter(tmp_path / "state" / "wal")
    append(writer, *later, events_of("acme")["key"], *second[:2], *second[1:])
    seal(tmp_path / "state")
    head = export(log_folder(tmp_path / "state", "acme"), tmp_path / "bundle").checkpoint
    (tmp_path / "vkeys").write_text(f"{Ed25519NoteKey(head.origin, EPOCH_KEY).verifier.text}\n")
    result = verify(tmp_path / "bundle")
    assert result.return_value == 0
    (back,) = json.loads(result.stdout)["clock_set_back"]
    assert back == {
        "entry": 5,
        "from_at": "1970-01-01T05:00:00.000+00:00",
        "to_at": "1970-01-01T00:00:00.002+00:00",
    }
    people = verify(tmp_path / "bundle", as_json=False)
    assert "warning: at entry 5 the clock of the host was set back from 1970-01-01T05:00" in people.stderr


def test_a_verification_shows_its_progress_on_a_terminal() -> None:
    """Of millions of entries it takes minutes."""
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    meter = EntryMeter(screen)
    meter.clear()
    meter.begin(1024)
    meter.verified(256)
    assert "256/1024 entries" in screen.getvalue()
    assert "ETA" in screen.getvalue()
    meter.clear()
    assert screen.getvalue().endswith("\r")


def test_what_was_read_of_one_origin_is_not_kept_for_the_next_ones(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bundle may have ten thousand, each with its tiles, and with thousands of keys."""
    (origin,) = bundle.glob("*/checkpoint")
    for number in range(4):
        shutil.copytree(origin.parent, bundle / f"{number:016d}")
    read: list[weakref.ref[BundleReader]] = []
    kept: list[int] = []

    class Watched(OriginVerifier):
        def __init__(self, reader: BundleReader, **more: Any) -> None:
            super().__init__(reader, **more)
            gc.collect()
            kept.append(sum(each() is not None for each in read))
            read.append(weakref.ref(reader))

    monkeypatch.setattr("workers.cli.audit.verify.OriginVerifier", Watched)
    result = verify(bundle)
    assert (result.return_value, len(result.stdout.splitlines())) == (1, 9)
    assert max(kept) <= 1


def test_a_name_in_the_bundle_that_nothing_reads_is_told(bundle: Path) -> None:
    """A log under a changed name would be taken for one that was never there."""
    (origin,) = (each for each in bundle.iterdir() if each.is_dir())
    shutil.copytree(origin, bundle / f"{origin.name}.old")
    (origin / "checkpoint.old").write_bytes(b"another one")
    result = verify(bundle, as_json=False)
    assert result.return_value == 0
    assert f"{origin.name}.old: not verified" in result.stderr
    assert f"{origin.name}/checkpoint.old: not verified" in result.stderr
    assert result.stderr.count("no part of a bundle") == 2
    assert "README" not in result.stderr
    for number in range(MOST_OTHERS):
        (origin / f"junk {number}").touch()
    assert "2 more names in the bundle: not verified" in verify(bundle, as_json=False).stderr


def test_jobs_without_an_end_are_told(tmp_path: Path) -> None:
    append(SegmentWriter(tmp_path / "state" / "wal"), *job("acme", 1)[:2])
    seal(tmp_path / "state")
    head = export(log_folder(tmp_path / "state", "acme"), tmp_path / "bundle").checkpoint
    (tmp_path / "vkeys").write_text(f"{Ed25519NoteKey(head.origin, EPOCH_KEY).verifier.text}\n")
    assert json.loads(verify(tmp_path / "bundle").stdout)["jobs_without_end"] == 1
    assert "1 job has no end here" in verify(tmp_path / "bundle", as_json=False).stderr


def test_the_record_of_another_tenant_is_refused(bundle: Path) -> None:
    result = verify(bundle, "--tenant", "globex", as_json=False)
    assert result.return_value == 1
    assert "the checkpoint is of a log of another tenant: acme" in result.stdout
    assert type(verify(bundle, "--tenant", "").exception).__name__ == "BadParameter"


def test_a_name_that_is_no_text_is_told_in_json(bundle: Path) -> None:
    """JSON has no lone surrogates, as which such bytes are in a name."""
    (origin,) = (each for each in bundle.iterdir() if each.is_dir())
    (origin / "statements").mkdir(exist_ok=True)
    Path(os.fsdecode(os.fsencode(origin / "statements") + b"/\xff")).write_bytes(b"none")
    (bundle.parent / "service").write_text(f"{base64.b64encode(SERVICE.spki).decode()}\n")
    result = verify(bundle, "--service-key", bundle.parent / "service")
    assert (result.exception, result.return_value) == (None, 1)
    assert "statements/\\udcff" in json.loads(result.stdout.splitlines()[0])["message"]


def test_bundles_of_two_tenants_share_no_folder(bundle: Path) -> None:
    """The logs of a host have one name in all bundles: of the one tenant's items the other would get those that it does not replace."""
    state = bundle.parent / "state"
    append(SegmentWriter(state / "wal"), *job("globex", 1))
    seal(state)
    before = sorted(bundle.rglob("*"))
    with pytest.raises(FolderOfAnother, match="has the record of acme"):
        export(log_folder(state, "globex"), bundle)
    assert sorted(bundle.rglob("*")) == before
    for file in bundle.glob("*/origin"):
        file.unlink()
    with pytest.raises(FolderOfAnother, match="does not say of which tenant"):
        export(log_folder(state, "globex"), bundle)
    export(log_folder(state, "globex"), bundle.parent / "globex")
    export(log_folder(state, "globex"), bundle.parent / "globex")


def test_without_any_key_nothing_is_proven(bundle: Path) -> None:
    assert type(run("verify", bundle).exception).__name__ == "UsageError"


@pytest.mark.parametrize("content", ["", "nonsense\n", "\xff"])
def test_a_file_without_keys_of_checkpoints_is_an_error(bundle: Path, content: str) -> None:
    (bundle.parent / "vkeys").write_bytes(content.encode("latin-1"))
    assert isinstance(verify(bundle).exception, ConfigError)


def test_a_file_of_clients_that_is_none_names_the_line(bundle: Path) -> None:
    (bundle.parent / "clients").write_text("# mine\nbuild-1 AAAA\n")
    result = verify(bundle, "--clients", bundle.parent / "clients")
    assert "line 2 is not 'NAME BASE64'" in str(result.exception)


def found(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_job_is_found_by_its_digest_with_the_hash_of_its_signature(bundle: Path) -> None:
    lines = found(run("find", bundle, "--digest", "sha256:" + SECRET_DIGEST.hex()))
    assert [line["entry"] for line in lines] == [2, 5]
    assert {line["signature_sha256"] for line in lines} == {hashlib.sha256(b"signature").hexdigest()}


@pytest.mark.parametrize(
    "words, count",
    [
        (("--client", "build-1"), 2),
        (("--key", "release", "--client", "other"), 0),
        (("--key", "release"), 2),
        (("--job", job_id_of("acme", (2).to_bytes(16))), 1),
        (("--digest", "00" * 31), 0),
        (("--from", "1970-01-01T00:00:00.002Z"), 1),
        (("--to", "1970-01-01T00:00:00.002"), 1),
        (("--from", "2026-11-27"), 0),
    ],
)
def test_all_conditions_must_hold(bundle: Path, words: tuple[str, ...], count: int) -> None:
    result = run("find", bundle, *words)
    assert (len(found(result)), result.return_value) == (count, 0 if count else 1)


@pytest.mark.parametrize(
    "words",
    [
        ("--from", "yesterday"),
        ("--digest", "xyz"),
        ("--digest", ""),
        ("--digest", "sha256:"),
        ("--key", ""),
        ("--client", " "),
        ("--job", ""),
    ],
)
def test_a_time_or_digest_that_is_none_is_a_usage_error(bundle: Path, words: tuple[str, ...]) -> None:
    """So is an empty name or job id, as of a variable that is not set."""
    result = run("find", bundle, *words)
    assert type(result.exception).__name__ == "BadParameter"


def test_no_receipt_is_made_for_an_empty_digest(bundle: Path) -> None:
    """Of a variable that is not set: it is no digest of any job."""
    result = run("receipt", bundle, "--digest", "", "--vkeys", bundle.parent / "vkeys")
    assert type(result.exception).__name__ == "BadParameter"


def test_people_get_a_table(bundle: Path) -> None:
    result = run("find", bundle, as_json=False)
    assert "1970-01-01T00:00:00.001+00:00" in result.stdout
    assert "1 of 2" in result.stdout


def receipt(bundle: Path, source: Path, *more: object) -> Result:
    words = ("--digest", SECRET_DIGEST.hex(), "--vkeys", bundle.parent / "vkeys", *more)
    return run("receipt", source, *words)


def test_a_receipt_is_made_of_a_bundle_and_verified_without_it(bundle: Path) -> None:
    file = bundle.parent / "release.tlog-proof"
    made = receipt(bundle, bundle, "--out", file)
    assert (made.exception, json.loads(made.stdout)["entry"]) == (None, 5)
    signature = bundle.parent / "release.sig"
    signature.write_bytes(b"signature")
    verified = receipt(bundle, file, "--signature", signature)
    assert json.loads(verified.stdout) == json.loads(made.stdout)
    signature.write_bytes(b"another")
    assert "of another signature" in str(receipt(bundle, file, "--signature", signature).exception)


def test_a_digest_that_is_not_in_the_bundle_has_no_receipt(bundle: Path) -> None:
    words = ("--digest", "00" * 31, "--vkeys", bundle.parent / "vkeys")
    assert "not in this bundle" in str(run("receipt", bundle, *words).exception)


def test_a_receipt_that_is_endless_or_no_file_is_refused(bundle: Path) -> None:
    file = bundle.parent / "receipt"
    with file.open("wb") as stream:
        stream.truncate(1 << 30)
    assert "larger than" in str(receipt(bundle, file).exception)
    file.unlink()
    os.mkfifo(file)
    assert isinstance(receipt(bundle, file).exception, InputUnreadable)


@pytest.fixture
def service_key(bundle: Path) -> Path:
    """File of the service key that certified the key of the bundle's checkpoint."""
    log = log_folder(bundle.parent / "state", "acme")
    certify(log)
    export(log, bundle)
    file = bundle.parent / "service.key"
    file.write_text(base64.b64encode(SERVICE.spki).decode() + "\n")
    return file


def test_a_receipt_is_proven_from_the_service_key(bundle: Path, service_key: Path) -> None:
    """Without the bundle too: the receipt has the statement."""
    words = ("--digest", SECRET_DIGEST.hex(), "--service-key", service_key)
    file = bundle.parent / "release.tlog-proof"
    made = run("receipt", bundle, *words, "--out", file)
    assert (made.exception, json.loads(made.stdout)["entry"]) == (None, 5)
    assert json.loads(receipt(bundle, file).stdout) == json.loads(made.stdout)
    assert json.loads(run("receipt", file, *words).stdout) == json.loads(made.stdout)
    without = run("receipt", file, "--digest", SECRET_DIGEST.hex())
    assert type(without.exception).__name__ == "UsageError"
    assert "--service-key" in str(without.exception)


def test_a_service_key_that_certified_nothing_proves_no_receipt(bundle: Path, service_key: Path) -> None:
    """Nothing is written."""
    for statement in bundle.glob("*/statements/*"):
        statement.unlink()
    file = bundle.parent / "release.tlog-proof"
    words = ("--digest", SECRET_DIGEST.hex(), "--service-key", service_key, "--out", file)
    assert "none of the trusted keys" in str(run("receipt", bundle, *words).exception)
    assert not file.exists()


@pytest.mark.parametrize("command", ["verify", "receipt"])
def test_a_file_without_a_service_key_is_an_error_that_names_it(bundle: Path, command: str) -> None:
    """Also with keys of checkpoints beside it."""
    empty = bundle.parent / "service.key"
    empty.write_text("# none yet\n")
    digest = ("--digest", SECRET_DIGEST.hex()) if command == "receipt" else ()
    result = run(command, bundle, *digest, "--service-key", empty, "--vkeys", bundle.parent / "vkeys")
    assert "there is no key in it" in str(result.exception)
    assert str(empty) in str(result.exception)


def test_an_export_does_not_follow_a_link_in_its_folder(bundle: Path, tmp_path: Path) -> None:
    """Neither one in the place of an origin, of a folder of it, nor of a file."""
    (origin,) = (each for each in bundle.iterdir() if each.is_dir())
    log = log_folder(tmp_path / "state", "acme")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x").write_bytes(b"theirs")
    for out, link in (("one", origin.name), ("two", f"{origin.name}/tile")):
        place = tmp_path / out / link
        place.parent.mkdir(parents=True)
        place.symlink_to(outside)
        if place.parent.name == origin.name:
            shutil.copy(origin / "origin", place.parent)
        with pytest.raises(OSError, match="is a symbolic link"):
            export(log, tmp_path / out)
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "README").symlink_to(outside / "x")
    export(log, tmp_path / "three")
    assert [file.read_bytes() for file in outside.iterdir()] == [b"theirs"]


@pytest.fixture
def with_events(tmp_path: Path) -> Path:
    """Bundle of a job and one event of each kind."""
    writer = SegmentWriter(tmp_path / "state" / "wal")
    append(writer, *job("acme", 1), *events_of("acme").values(), job("acme", 2)[1])
    append(writer, msgspec.structs.replace(intent("acme", 3), attempt=-1))
    seal(tmp_path / "state")
    head = export(log_folder(tmp_path / "state", "acme"), tmp_path / "bundle").checkpoint
    (tmp_path / "vkeys").write_text(f"{Ed25519NoteKey(head.origin, EPOCH_KEY).verifier.text}\n")
    return tmp_path / "bundle"


@pytest.mark.parametrize("kind", EVENT_KINDS)
def test_an_event_is_found_by_its_kind_with_all_its_fields(with_events: Path, kind: str) -> None:
    (line,) = found(run("find", with_events, "--event", kind))
    assert line["kind"] == kind
    event = line["event"]
    assert isinstance(event, dict)
    assert event.keys() == set(EVENT_KINDS[kind].__struct_fields__) - {"version", "kind", "at_ms"}
    text = run("find", with_events, "--event", kind, as_json=False).stdout
    assert kind in text
    assert f"/{line['entry']}" in text


def test_events_are_found_by_key_client_and_time(with_events: Path) -> None:
    """A key is in refusals, orders, changes and counts of calls; a client in refusals."""
    any_event = ("find", with_events, "--event", "any")
    assert len(found(run(*any_event))) == len(EVENT_KINDS)
    assert {line["kind"] for line in found(run(*any_event, "--key", "release"))} == {
        "refused",
        "order",
        "key",
        "lane-operations",
        "without-intent",
    }
    (refused,) = found(run(*any_event, "--client", "build-1"))
    assert refused["event"] == {
        "client": "build-1",
        "key": "release",
        "algorithm": "ECDSA_SHA_256",
        "digests": 2,
        "code": "key.unknown",
    }
    two = found(run("find", with_events, "--event", "key", "--event", "config"))
    assert [line["kind"] for line in two] == ["config", "key"]
    assert run(*any_event, "--key", "another").return_value == 1
    assert run(*any_event, "--from", "2026-01-01").return_value == 1


@pytest.mark.parametrize("more", [("--digest", "00"), ("--job", "x")])
def test_events_have_no_digests_and_no_job_ids(with_events: Path, more: tuple[str, str]) -> None:
    result = run("find", with_events, "--event", "any", *more)
    assert isinstance(result.exception, UsageError)


def test_what_the_host_has_lost_is_told_with_its_place_and_is_no_problem(with_events: Path) -> None:
    """In the line of the origin, and as warnings in the text."""
    result = verify(with_events)
    assert result.return_value == 0
    line = json.loads(result.stdout)
    assert (line["losses"], line["problems"]) == (2, 0)
    assert [(each["entry"], each["code"]) for each in line["lost"]] == [
        (line["size"] - 2, "intent.lost"),
        (line["size"] - 1, "gap.wrong"),
    ]
    text = verify(with_events, as_json=False).stderr
    assert (
        f"warning: intent.lost at entry {line['size'] - 2}: a job ended with 1 signature by release/1" in text
    )
    assert "of segment 1 of the host's write-ahead log are a record of this tenant" in text
    assert text.rstrip().endswith("1 origin: everything holds, and 2 losses are told")


def test_calls_of_lanes_are_told_beside_the_signatures_of_a_key(with_events: Path) -> None:
    line = json.loads(verify(with_events).stdout)
    assert line["keys"] == [{"key": "release", "key_version": 1, "calls": 7, "signatures": 1}]
    assert (line["lanes_without_end"], line["calls_in_doubt"], line["problems"]) == (0, 0, 0)
    text = verify(with_events, as_json=False).stderr
    assert "release/1: 7 calls of C_Sign, 1 signature" in text


def test_a_lane_that_has_reported_no_calls_yet_is_said_to_have_no_end(tmp_path: Path) -> None:
    """It reports once a minute: until then there are more signatures than calls, which needs its reason beside it."""
    started = events_of("acme")["lane-started"]
    append(SegmentWriter(tmp_path / "state" / "wal"), started, *job("acme", 1))
    seal(tmp_path / "state")
    head = export(log_folder(tmp_path / "state", "acme"), tmp_path / "bundle").checkpoint
    (tmp_path / "vkeys").write_text(f"{Ed25519NoteKey(head.origin, EPOCH_KEY).verifier.text}\n")
    text = verify(tmp_path / "bundle", as_json=False).stderr
    assert "release/1: 0 calls of C_Sign, 1 signature" in text
    assert "there may be more calls: 1 lane has no end here" in text


@pytest.fixture
def kept(bundle: Path) -> Path:
    """The checkpoint of an export of some time ago; the log has grown since, and was exported again."""
    (checkpoint,) = bundle.glob("*/checkpoint")
    kept = bundle.parent / "kept"
    kept.write_bytes(checkpoint.read_bytes())
    append(SegmentWriter(bundle.parent / "state" / "wal"), *job("acme", 3))
    seal(bundle.parent / "state")
    shutil.rmtree(bundle)
    export(log_folder(bundle.parent / "state", "acme"), bundle)
    return kept


def problems_of(result: Result) -> list[tuple[str, str]]:
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    return [(line["code"], line["message"]) for line in lines if "code" in line]


def test_a_bundle_that_continues_the_checkpoint_that_was_kept_holds(bundle: Path, kept: Path) -> None:
    newest = next(bundle.glob("*/checkpoint"))
    result = verify(bundle, "--checkpoint", kept, "--checkpoint", newest)
    assert (result.return_value, problems_of(result)) == (0, [])


@pytest.mark.parametrize(
    "line, value, code, what",
    [
        (1, "4", "kept.forked", "the first 4 entries are other ones"),
        (1, "0", "kept.forked", "the first 0 entries are other ones"),
        (
            1,
            "11",
            "kept.rolled_back",
            "rolled back: the checkpoint that was kept has 11 entries, and this log 10",
        ),
        (2, base64.b64encode(b"x" * 32).decode(), "kept.forked", "the first 7 entries are other ones"),
        (0, "sigmill/prod/acme/0123456789abcdef", "kept.missing", "no log of this name holds"),
    ],
)
def test_a_bundle_that_does_not_continue_the_checkpoint_that_was_kept_is_refused(
    bundle: Path, kept: Path, line: int, value: str, code: str, what: str
) -> None:
    lines = kept.read_text().split("\n")
    lines[line] = value
    kept.write_text("\n".join(lines))
    result = verify(bundle, "--checkpoint", kept)
    ((found, message),) = problems_of(result)
    assert (result.return_value, found) == (1, code)
    assert message.startswith(what)
    text = verify(bundle, "--checkpoint", kept, as_json=False)
    assert code in text.stdout
    assert "1 origin: 1 problem" in text.stderr


def test_a_bundle_of_before_the_checkpoint_that_was_kept_was_rolled_back(
    bundle: Path, tmp_path: Path
) -> None:
    """The whole export is an older one, signed and sound."""
    newer = tmp_path / "newer"
    append(SegmentWriter(tmp_path / "state" / "wal"), *job("acme", 3))
    seal(tmp_path / "state")
    export(log_folder(tmp_path / "state", "acme"), newer)
    ((code, _),) = problems_of(verify(bundle, "--checkpoint", next(newer.glob("*/checkpoint"))))
    assert code == "kept.rolled_back"


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff" * 300, b"x" * 1_000_001, b"a\n1\n", b"a\n-1\nAAAA\n\n\xe2\x80\x94 a AAAAAAA=\n"],
    ids=["empty", "not-utf-8", "huge", "unsigned", "negative"],
)
def test_a_file_that_is_no_checkpoint_is_refused_with_its_name(bundle: Path, kept: Path, data: bytes) -> None:
    kept.write_bytes(data)
    result = verify(bundle, "--checkpoint", kept)
    assert isinstance(result.exception, ConfigError)
    assert str(kept) in str(result.exception)


def test_a_pipe_in_place_of_a_checkpoint_is_not_waited_for(bundle: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert isinstance(verify(bundle, "--checkpoint", tmp_path / "pipe").exception, ConfigError)
