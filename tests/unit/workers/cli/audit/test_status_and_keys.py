"""``sigmill audit status|keys``: the state of a host's record, and the keys with which others verify it."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from queueing.transparency.notes import sign_note
from tests.support.disk.irregular import put_pipe
from tests.support.fakes.config_files import Site, p256_key, spki_text
from tests.support.farm.certified_logs import SERVICE, certify
from tests.support.farm.logged_jobs import append, job
from tests.support.farm.sealed_logs import seal
from tests.support.keys import EcdsaNoteKey
from workers.cli.audit import audit
from workers.cli.shell.output import Output
from workers.journal.event_records import KeyRecord
from workers.journal.event_spool import EventSpool
from workers.journal.scrubbing import ScrubbedPlace, ScrubReport, write_report
from workers.journal.segment_writer import SegmentWriter
from workers.record.bundle.writer import export
from workers.record.exchange import STATEMENTS, SealerStatus, write_status
from workers.record.folder import log_folder
from workers.record.replacement import give_up


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A host with the sealed and certified logs of two tenants."""
    made = Site(tmp_path)
    own = base64.b64encode(SERVICE.spki).decode()
    made.service = made.service.replace('"test"', '"prod"').replace(spki_text(p256_key(99)), own)
    made.write()
    append(SegmentWriter(state_of(made) / "wal"), *job("acme", 1), *job("globex", 2))
    seal(state_of(made))
    certify(log_folder(state_of(made), "acme"))
    return made


def state_of(site: Site) -> Path:
    return site.folder / "state"


def run(site: Site, command: str, *words: str, as_json: bool = True) -> Result:
    options = [command, "--config", str(site.config), *words]
    return CliRunner().invoke(audit, options, obj=Output(as_json=as_json), standalone_mode=False)


def test_the_status_has_a_line_of_the_host_and_one_of_each_tenant(site: Site) -> None:
    EventSpool(state_of(site)).put(KeyRecord(1, "acme", "created", "release"))
    result = run(site, "status")
    assert result.return_value == 0
    host, acme, globex = map(json.loads, result.stdout.splitlines())
    assert (host["segments"], host["events_waiting"], host["damage"]) == (1, 1, [])
    assert (acme["tenant"], acme["size"], acme["keys"], acme["certified"]) == ("acme", 4, 1, True)
    assert acme["origin"].startswith("sigmill/prod/acme/")
    assert acme["checkpoint_at"].startswith("20")
    assert (globex["tenant"], globex["certified"]) == ("globex", False)
    assert [
        json.loads(line).get("tenant") for line in run(site, "status", "--tenant", "acme").stdout.splitlines()
    ] == [
        None,
        "acme",
    ]


@pytest.mark.timeout(10)
def test_a_copy_of_a_log_and_a_checkpoint_that_is_no_file_are_named(site: Site) -> None:
    """Each in the line of its folder; other tenants have theirs."""
    logs = log_folder(state_of(site), "acme").parent
    shutil.copytree(logs / "acme", logs / "acme.bak")
    (logs / "globex" / "checkpoint").unlink()
    put_pipe(logs / "globex" / "checkpoint")
    result = run(site, "status")
    assert result.return_value == 1
    problems = {line["tenant"]: line["problem"] for line in map(json.loads, result.stdout.splitlines()[1:])}
    assert problems == {
        "acme": "",
        "acme.bak": f"a copy of the log of acme, which is not sealed on: move it out of {logs}",
        "globex": f"{logs}/globex/checkpoint: not a regular file",
    }


def test_a_damaged_entry_is_named_by_an_export_with_exit_code_1(site: Site, tmp_path: Path) -> None:
    """People read the file's whole path; the export has every file all the same."""
    words = ("--tenant", "acme", "--out")
    assert run(site, "export", *words, str(tmp_path / "sound")).return_value == 0
    file = log_folder(state_of(site), "acme") / "entries/000000.bin"
    file.write_bytes(file.read_bytes()[:-1] + b"\xff")
    damaged = run(site, "export", *words, str(tmp_path / "one"))
    assert damaged.return_value == 1
    assert json.loads(damaged.stdout)["damage"] == [
        {"file": "entries/000000.bin", "entry": 3, "offset": None}
    ]
    people = run(site, "export", *words, str(tmp_path / "two"), as_json=False)
    assert f"damaged: {file}: entry 3" in people.stderr
    whole, one = (
        {each.relative_to(out) for each in out.rglob("*")} for out in (tmp_path / "sound", tmp_path / "one")
    )
    assert one == whole


def test_damage_is_named_with_segment_and_offset_and_exit_code_1(site: Site) -> None:
    """Also damage of the record, and a checkpoint that cannot be read."""
    place = ScrubbedPlace(segment="000000000001.wal", offset=8, size_bytes=10)
    write_report(
        state_of(site), ScrubReport(began_at=1.0, ended_at=2.0, segments=1, size_bytes=3, damage=(place,))
    )
    result = run(site, "status", as_json=False)
    assert result.return_value == 1
    assert "damaged: 000000000001.wal, 10 bytes from offset 8" in result.stderr
    write_report(state_of(site), ScrubReport(began_at=1.0, ended_at=2.0, segments=1, size_bytes=3))
    assert run(site, "status").return_value == 0
    place_in_record = "acme/items/000000.bin: entry 7"
    write_status(state_of(site), SealerStatus(pid=1, started_ns=1, damage=(place_in_record,)))
    result = run(site, "status", as_json=False)
    assert (result.return_value, f"record: damaged: {place_in_record}" in result.stderr) == (1, True)
    (log_folder(state_of(site), "globex") / "checkpoint").write_bytes(b"nonsense")
    result = run(site, "status", as_json=False)
    assert (result.return_value, "cannot be read" in result.stdout) == (1, True)


def test_the_status_of_a_host_without_a_log_is_empty(tmp_path: Path) -> None:
    """It makes nothing."""
    site = Site(tmp_path).write()
    result = run(site, "status")
    assert result.return_value == 0
    assert json.loads(result.stdout)["segments"] == 0
    assert not state_of(site).exists()


def test_keys_are_printed_as_the_verifier_takes_them(site: Site) -> None:
    """A bundle is verified with nothing else."""
    result = run(site, "keys", "--tenant", "acme", as_json=False)
    assert result.return_value == 0
    (site.folder / "vkeys").write_text(result.stdout)
    export(log_folder(state_of(site), "acme"), site.folder / "bundle")
    words = ["verify", str(site.folder / "bundle"), "--vkeys", str(site.folder / "vkeys")]
    verified = CliRunner().invoke(audit, words, obj=Output(as_json=True), standalone_mode=False)
    assert verified.return_value == 0
    line = json.loads(run(site, "keys", "--tenant", "acme").stdout)
    assert (line["from_size"], line["issued"][:10], line["expires"][:10]) == (1, "2026-11-27", "2026-12-27")
    assert line["vkey"] in result.stdout.splitlines()


def test_a_record_that_was_given_up_is_exported_beside_the_one_that_follows_it(site: Site) -> None:
    """Segments of the write-ahead log may be gone: then it alone has what was signed."""
    out, state = site.folder / "bundle", state_of(site)
    former = give_up(state)
    seal(state)
    for more in ((), ("--former", former)):
        assert run(site, "export", "--tenant", "acme", "--out", str(out), *more).return_value == 0
    (site.folder / "service.keys").write_text(base64.b64encode(SERVICE.spki).decode())
    certify(log_folder(state, "acme"))
    assert run(site, "export", "--tenant", "acme", "--out", str(out)).return_value == 0
    words = ["verify", str(out), "--service-key", str(site.folder / "service.keys"), "--tenant", "acme"]
    verified = CliRunner().invoke(audit, words, obj=Output(as_json=True), standalone_mode=False)
    assert verified.return_value == 0
    assert [json.loads(line)["entries"] for line in verified.stdout.splitlines()] == [4, 4]
    for wrong in ("record.other", "../state", ""):
        refused = run(site, "export", "--tenant", "acme", "--out", str(out), "--former", wrong)
        assert f"is no former record here ({former})" in str(refused.exception)


def test_a_key_that_the_service_key_did_not_certify_is_no_key(site: Site) -> None:
    """It is a comment, so that the output can still be given to the verifier."""
    folder = log_folder(state_of(site), "acme") / STATEMENTS
    (statement,) = folder.iterdir()
    text = statement.read_text().split("\n\n")[0] + "\n"
    (folder / "9-forged").write_bytes(sign_note(text, EcdsaNoteKey("sigmill/prod/service")))
    (folder / "9-nonsense").write_bytes(b"\xff")
    result = run(site, "keys", "--tenant", "acme", as_json=False)
    assert result.return_value == 1
    lines = result.stdout.splitlines()
    (key,) = (line for line in lines if not line.startswith("#"))
    refused = lines.index(
        "# 9-forged: refused: the note is signed by none of the trusted keys (sigmill/prod/service)"
    )
    assert lines[refused + 1].startswith(f"# 9-forged: it claims {key} from entry 1, certified ")
    assert "from entry" not in lines[refused - 1]
    assert "# 9-nonsense: refused: " in result.stdout


def test_a_draft_that_a_killed_writer_left_is_no_statement(site: Site) -> None:
    folder = log_folder(state_of(site), "globex") / STATEMENTS
    folder.mkdir()
    (folder / f".{1:020d}-0011223344556677.k3v9x0aa.new").write_bytes(b"sigmill-origin/v1")
    assert run(site, "keys", "--tenant", "globex").return_value == 75
    shown = json.loads(run(site, "status", "--tenant", "globex").stdout.splitlines()[1])
    assert (shown["keys"], shown["certified"]) == (0, False)


def test_a_statement_about_another_tenants_log_is_no_key_of_this_one(site: Site) -> None:
    folder = log_folder(state_of(site), "globex") / STATEMENTS
    folder.mkdir()
    (statement,) = (log_folder(state_of(site), "acme") / STATEMENTS).iterdir()
    (folder / statement.name).write_bytes(statement.read_bytes())
    result = run(site, "keys", "--tenant", "globex", as_json=False)
    assert result.return_value == 1
    assert not [line for line in result.stdout.splitlines() if not line.startswith("#")]


def test_without_a_certified_key_it_is_to_be_tried_again(site: Site) -> None:
    assert run(site, "keys", "--tenant", "globex").return_value == 75


@pytest.mark.parametrize("command", ["status", "keys"])
def test_a_name_that_leads_out_is_no_tenant(site: Site, command: str) -> None:
    assert type(run(site, command, "--tenant", "../acme").exception).__name__ == "ConfigError"
