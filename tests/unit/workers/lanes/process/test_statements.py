"""Statements of the service's lane: it writes every line, whatever the worker asks."""

from __future__ import annotations

import os

import msgspec
import pytest

from queueing.errors import EnvelopeMalformed
from queueing.transparency.origin_statements import read_statement
from tests.support.fakes.configurations import configuration
from workers.lanes.process.statements import VALID_FOR, statement_of
from workers.lanes.protocol import FormerHead, SignStatement, encode_frame, to_lane_decoder

NOW_S = 1_800_000_000.5
REQUEST = SignStatement(1, "acme", "0123456789abcdef", b"k" * 32, 7, b"r" * 32)


def test_audience_name_host_and_dates_are_the_lanes_own() -> None:
    statement = statement_of(REQUEST, configuration().service, NOW_S)
    assert read_statement(statement.text) == statement
    assert statement.audience == "test"
    assert statement.head.origin == "sigmill/test/acme/0123456789abcdef"
    assert statement.host == os.uname().nodename
    assert statement.issued.timestamp() == int(NOW_S)
    assert statement.expires - statement.issued == VALID_FOR


@pytest.mark.parametrize("origin", ["sigmill/test/globex/fedcba9876543210", "acme", "sigmill/acme/x/y", ""])
def test_a_log_follows_only_a_log_of_its_tenant(origin: str) -> None:
    request = msgspec.structs.replace(REQUEST, follows=FormerHead(origin, 9, b"f" * 32))
    with pytest.raises(EnvelopeMalformed):
        statement_of(request, configuration().service, NOW_S)


@pytest.mark.parametrize(
    "field, value",
    [
        ("tenant", "acme\nfollows none"),
        ("tenant", "Acme"),
        ("origin", "0123456789ABCDEF"),
        ("origin", "0123456789abcdef\n"),
        ("epoch_key", b"k" * 31),
        ("root", b""),
        ("size", -1),
        ("follows", FormerHead("a b", 1, bytes(32))),
    ],
)
def test_a_request_that_could_change_the_form_is_no_message(field: str, value: object) -> None:
    """The lane ends over it, as over any message that no worker sends."""
    frame = encode_frame(msgspec.structs.replace(REQUEST, **{field: value}))
    with pytest.raises(msgspec.ValidationError):
        to_lane_decoder.decode(frame[4:])
