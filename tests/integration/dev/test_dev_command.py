"""``sigmill dev``: what it prints can be pasted into another shell."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.sigmill_cli import sigmill

TIMEOUT_S = 60.0


def test_the_printed_lines_work() -> None:
    """The configuration and the client that it names sign a file; the warning is clear; SIGINT ends all."""
    process = subprocess.Popen(
        [sys.executable, "-m", "workers.cli", "dev"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    printed = ""
    while "tokens list" not in printed:
        line = process.stdout.readline()
        assert line, process.communicate()
        printed += line
    exports = dict(re.findall(r"^export (\w+)=(\S+)$", printed, re.MULTILINE))
    try:
        client = exports["SIGMILL_CLIENT_CONFIG"]
        signed = sigmill("sign", "--config", client, "--key", "release", "/usr/bin/env")
        listed = sigmill("keys", "list", "--json", "--config", exports["SIGMILL_CONFIG"])
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=TIMEOUT_S)

    assert signed.code == 0, signed.err
    assert signed.json()[0]["signature"]
    assert [line["found"] for line in listed.json()] == [True, True, True]
    assert process.returncode == 0
    assert "NOT FOR PRODUCTION" in err
    assert not Path(exports["SIGMILL_CONFIG"]).exists()
