"""Fetching of a provider's keys: what a provider answers costs its own fetch, and never that of another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.issuer.provider import jwk
from tests.support.keys import rsa_key
from workers.issuer import fetching
from workers.issuer.fetching import MAX_BODY_BYTES, FetchFailed, KeySource, fetch_keys
from workers.issuer.identity.provider_keys import MAX_FILE_BYTES, encode_keys, read_keys

if TYPE_CHECKING:
    import ssl

URL = "https://token.example"
GOOD = jwk(rsa_key(), "good")
SOURCE = KeySource(issuer_url=URL, jwks_url=f"{URL}/keys")


class Provider:
    """Provider that answers with these bodies, by the end of the address."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **bodies: Any) -> None:
        self.bodies = {name: json.dumps(body).encode() for name, body in bodies.items()}
        self._get = fetching._get
        monkeypatch.setattr(fetching, "_get", self.get)

    def get(self, url: str, context: ssl.SSLContext) -> bytes:
        found = self.bodies.get(url.rpartition("/")[2].replace("-", "_"))
        if found is None:
            return self._get(url, context)
        assert len(found) <= MAX_BODY_BYTES
        return found


@pytest.mark.parametrize(
    "address", ["https://127.0.0.1:99999/", "https://127.0.0.1:x/", "https://[/", "https://[::g]/"]
)
def test_an_address_of_keys_that_is_none_fails_the_fetch(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    """The provider's own configuration names it. Another error would end the refresh of all providers."""
    Provider(monkeypatch, openid_configuration={"issuer": URL, "jwks_uri": address})
    with pytest.raises(FetchFailed, match="cannot be reached"):
        fetch_keys(KeySource(issuer_url=URL), 7.0)


@pytest.mark.parametrize("curve", [[], {}, None, 7, ["P-256"]], ids=str)
def test_a_key_of_a_curve_that_is_no_text_costs_nothing_but_itself(
    monkeypatch: pytest.MonkeyPatch, curve: object
) -> None:
    """The others are fetched."""
    Provider(monkeypatch, keys={"keys": [{"kty": "EC", "crv": curve, "kid": "bad"}, GOOD]})
    assert set(read_keys(encode_keys(fetch_keys(SOURCE, 7.0))).by_kid) == {"good"}


@pytest.mark.parametrize("more", [f"[{'1e9,' * 45_000}1]", f'"{"x" * 200_000}"'], ids=["numbers", "text"])
def test_what_a_provider_adds_to_a_key_is_not_written(monkeypatch: pytest.MonkeyPatch, more: str) -> None:
    """It could make a file that the lane does not read any more, in place of one that it reads."""
    provider = Provider(monkeypatch, keys={"keys": [GOOD | {"x5c": "MORE", "kid": "a"}, GOOD]})
    provider.bodies["keys"] = provider.bodies["keys"].replace(b'"MORE"', more.encode())
    written = encode_keys(fetch_keys(SOURCE, 7.0))
    assert len(written) < MAX_FILE_BYTES // 100
    assert set(read_keys(written).by_kid) == {"a", "good"}


def test_two_keys_with_one_name_are_both_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the issuer knows of them, and uses neither."""
    other = jwk(rsa_key(1), "good")
    Provider(monkeypatch, keys={"keys": [GOOD, other]})
    assert read_keys(encode_keys(fetch_keys(SOURCE, 7.0))).repeated == {"good"}
