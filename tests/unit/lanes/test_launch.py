"""What a lane inherits from the worker that starts it."""

from __future__ import annotations

import pytest

from workers.config.settings import SelectSettings, TokenSettings
from workers.lanes.launch import _environment


def test_a_lane_inherits_the_place_of_the_credentials_and_nothing_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its PIN file may be a credential of the worker's unit; the worker's own variables stay the worker's."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/sigmill-worker.service")
    monkeypatch.setenv("REDIS_PASSWORD", "secret")
    settings = TokenSettings(
        module="/usr/lib/vendor.so",
        select=SelectSettings(label="acme"),
        login="none",
        environment={"VENDOR_CONF": "/etc/vendor.conf"},
    )
    environment = _environment(settings)
    assert environment["CREDENTIALS_DIRECTORY"] == "/run/credentials/sigmill-worker.service"
    assert environment["VENDOR_CONF"] == "/etc/vendor.conf"
    assert environment.keys() <= {
        "LANG", "LC_ALL", "TZ", "PATH", "CREDENTIALS_DIRECTORY", "VENDOR_CONF",
    }  # fmt: skip
