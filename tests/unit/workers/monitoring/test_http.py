"""Addresses of metrics pages."""

from __future__ import annotations

import pytest

from queueing.errors import ConfigError
from workers.monitoring.http import PageUnavailable, check_url
from workers.monitoring.scrape import fetch_pages

WRONG = (
    "http://[::1",
    "http://host:99999999",
    "http://host:port",
    "http://host:-1",
    "ftp://host",
    "",
    "http://",
)


@pytest.mark.parametrize("url", WRONG)
def test_an_address_that_is_none_is_refused_as_an_option(url: str) -> None:
    """Brackets without an end, ports beyond 65,535, and other schemes."""
    with pytest.raises(ConfigError, match="is not a valid URL"):
        check_url("--workers", url)


def test_a_good_address_is_taken_without_its_last_slash() -> None:
    """Also an IPv6 address."""
    assert check_url("--workers", "http://[::1]:9464/") == "http://[::1]:9464"


@pytest.mark.parametrize(
    "address",
    [
        "http://[::1",
        "http://host:99999999",
        "http://host:port",
        "http://\x1b[2J",
        "http://" + "a" * 70 + ".b",
    ],
)
def test_an_address_that_is_none_costs_its_page(address: str) -> None:
    """Whatever text it is, it is the error of one page and ends nothing."""
    pages, errors = fetch_pages([address])
    assert not pages
    assert isinstance(errors[address], PageUnavailable)
