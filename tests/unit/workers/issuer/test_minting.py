"""Issue of grants: from the body of a request to a grant that a lane would take, or a refusal with an outcome."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from queueing.errors import BY_REASON, IssuerUnavailable
from queueing.protocol.client_keys import ClientKey, ClientPublicKey
from queueing.protocol.grants.grant import Grant, read_grant
from queueing.protocol.grants.grant_request import GrantJudged, audience_for
from tests.support.issuer.build import Build
from tests.support.issuer.provider import TokenProvider
from tests.support.issuer.site import AUDIENCE, TOKEN_AUDIENCE, IssuerSite
from workers.issuer.frames import Granted, Judged, Refused, RequestGrant
from workers.issuer.identity.refusals import Outcome
from workers.issuer.identity.used_tokens import UsedTokens
from workers.issuer.minting import Issuer
from workers.issuer.rule_files import RuleFiles

if TYPE_CHECKING:
    from pathlib import Path

CI = TokenProvider("https://token.example", TOKEN_AUDIENCE)


class Refresh:
    """Requests for keys that were made."""

    def __init__(self) -> None:
        self.wanted: list[str] = []

    def want(self, provider: str) -> None:
        self.wanted.append(provider)


class KeyInMemory:
    """The issuer's key, as the token has it."""

    def __init__(self, key: ClientKey) -> None:
        self.key = key
        self.signed = 0

    def sign(self, message: bytes) -> bytes:
        self.signed += 1
        return self.key.sign_envelope(message)


class MintingSetup:
    """An issuer over files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.site = IssuerSite(folder, CI)
        self.site.write()
        self.site.write_tenant()
        self.site.write_keys()
        self.now_s = time.time()
        self.refresh = Refresh()
        self.key = KeyInMemory(self.site.key)
        self.start()

    def start(self) -> None:
        configuration = self.site.configuration()
        self.issuer = Issuer(
            configuration,
            files=RuleFiles(configuration),
            used=UsedTokens(self.site.folder / "used"),
            key=self.key,
            refresh=self.refresh,
            clock=lambda: self.now_s,
        )

    def granted(self, body: bytes) -> Grant:
        answer = self.issuer.answer(RequestGrant(7, body))
        assert isinstance(answer, Granted), answer
        assert (answer.id, answer.provider) == (7, "github")
        grant = read_grant(answer.grant).verify(ClientPublicKey.from_spki(self.site.spki))
        assert grant.expires_ms == answer.expires_ms
        return grant

    def refused(self, body: bytes, certificate: bytes = b"") -> Refused:
        signed = self.key.signed
        answer = self.issuer.answer(RequestGrant(7, body, certificate))
        assert isinstance(answer, Refused), answer
        assert self.key.signed == signed
        assert answer.code in BY_REASON
        assert answer.message
        assert answer.hint
        return answer


@pytest.fixture
def setup(tmp_path: Path) -> MintingSetup:
    return MintingSetup(tmp_path)


def test_a_token_that_fits_a_rule_gets_a_grant(setup: MintingSetup) -> None:
    """The grant names the build's key, its subject, the evidence and the keys, within the caps of the tenant's file."""
    build, token = Build(), CI.token()
    grant = setup.granted(build.request(token))
    assert (grant.audience, grant.tenant, grant.issuer) == (AUDIENCE, "acme", "ci")
    assert grant.client_public_key == build.public
    assert (grant.keys, grant.algorithms) == (("release",), ("ECDSA_SHA_256",))
    assert grant.subject == "repo:acme/app:ref:refs/heads/main"
    assert grant.evidence_sha256 == hashlib.sha256(token.encode()).digest()
    assert grant.max_digests == 500
    assert grant.expires_ms - grant.not_before_ms == 600_000
    assert grant.not_before_ms == int(setup.now_s * 1000)


def test_a_grant_is_renewed_with_the_same_token_and_key(setup: MintingSetup) -> None:
    """A build of two hours asks again; each grant has an id of its own."""
    build, token = Build(), CI.token()
    first, second = (setup.granted(build.request(token, "release")) for _ in range(2))
    assert first.grant_id != second.grant_id


def test_a_token_is_refused_to_a_second_key(setup: MintingSetup) -> None:
    """A thief of a token that was used has to have its key; also after a restart."""
    token = CI.token()
    setup.granted(Build().request(token))
    assert setup.refused(Build().request(token)).outcome is Outcome.REPLAYED
    setup.start()
    assert setup.refused(Build().request(token)).outcome is Outcome.REPLAYED


def test_a_start_with_a_clock_that_is_ahead_does_not_free_a_token(setup: MintingSetup) -> None:
    """It is refused to a second key when the clock is right again."""
    token, right_s = CI.token(), setup.now_s
    setup.granted(Build().request(token))
    setup.now_s += 86_400
    setup.start()
    assert setup.refused(Build().request(token)).outcome is Outcome.TIME
    setup.now_s = right_s
    assert setup.refused(Build().request(token)).outcome is Outcome.REPLAYED


def test_a_token_that_names_its_key_serves_no_other_even_as_the_first(setup: MintingSetup) -> None:
    """A thief who takes it on its way, as the front could, gets nothing for a key of its own; the build gets its grant."""
    build, thief = Build(), Build()
    token = CI.token(aud=audience_for(TOKEN_AUDIENCE, build.public))
    refused = setup.refused(thief.request(token))
    assert (refused.outcome, "names another key" in refused.message) == (Outcome.PROOF, True)
    setup.granted(build.request(token))


def test_tokens_that_must_name_their_key_are_refused_without(setup: MintingSetup) -> None:
    """The provider has `bound = true`."""
    file = setup.site.file
    file.write_text(file.read_text().replace("[providers.github]\n", "[providers.github]\nbound = true\n"))
    setup.start()
    build = Build()
    assert setup.refused(build.request(CI.token())).outcome is Outcome.AUDIENCE
    setup.granted(build.request(CI.token(aud=audience_for(TOKEN_AUDIENCE, build.public))))


@pytest.mark.parametrize("aud", ["#key=", TOKEN_AUDIENCE + "#key=", TOKEN_AUDIENCE + "#key=x#key=y"])
def test_an_audience_with_a_false_key_is_refused(setup: MintingSetup, aud: str) -> None:
    """Empty, cut or doubled."""
    assert setup.refused(Build().request(CI.token(aud=aud))).outcome is Outcome.PROOF


def test_a_check_says_what_a_grant_would_permit_and_binds_nothing(setup: MintingSetup) -> None:
    """The token is still free for the build's own key, and nothing was signed; a refusal is the same as for a grant."""
    token = CI.token()
    checked = setup.issuer.answer(RequestGrant(7, Build().request(token), b"", check=True))
    assert isinstance(checked, Judged)
    judged = msgspec.json.decode(checked.body, type=GrantJudged)
    assert (judged.provider, judged.keys, judged.max_digests, judged.life_s) == (
        "github",
        ("release",),
        500,
        600.0,
    )
    assert setup.key.signed == 0
    setup.granted(Build().request(token))
    misfit = Build().request(CI.token(ref="x"))
    assert setup.issuer.answer(RequestGrant(7, misfit, b"", check=True)) == setup.refused(misfit)
    assert setup.refused(misfit).outcome is Outcome.RULE


@pytest.mark.parametrize(
    "change, outcome, code",
    [
        ({"ref": "refs/heads/dev"}, Outcome.RULE, "identity.refused"),
        ({"ref": "refs/heads/main2"}, Outcome.RULE, "identity.refused"),
        ({"ref": "refs/heads/mai"}, Outcome.RULE, "identity.refused"),
        ({"ref": "refs/heads/m\u0430in"}, Outcome.RULE, "identity.refused"),
        ({"ref": None, "environment": "refs/heads/main"}, Outcome.RULE, "identity.refused"),
        ({"repository_id": 4711}, Outcome.RULE, "identity.refused"),
        ({"aud": "https://other.example"}, Outcome.AUDIENCE, "identity.refused"),
        ({"iss": "https://evil.example"}, Outcome.PROVIDER, "identity.refused"),
        ({"exp": 1_000_000_000, "iat": 999_999_999, "nbf": None}, Outcome.TIME, "identity.refused"),
    ],
)
def test_a_token_that_does_not_fit_gets_nothing(
    setup: MintingSetup, change: dict[str, Any], outcome: Outcome, code: str
) -> None:
    """It is refused by its kind, and nothing is signed or recorded."""
    refused = setup.refused(Build().request(CI.token(**change)))
    assert (refused.outcome, refused.code) == (outcome, code)
    assert not (setup.site.folder / "used").stat().st_size


def test_a_refused_token_is_not_bound_to_its_key(setup: MintingSetup) -> None:
    """Only what a rule allows is recorded, so that a stranger cannot fill the register."""
    token = CI.token()
    assert setup.refused(Build().request(token, "other")).outcome is Outcome.RULE
    setup.granted(Build().request(token))


def test_a_proof_by_another_key_is_refused(setup: MintingSetup) -> None:
    """A thief of a token on its way cannot have it granted to a key without its private half."""
    build, thief = Build(), Build()
    build.public = thief.public
    refused = setup.refused(build.request(CI.token()))
    assert (refused.outcome, refused.code) == (Outcome.PROOF, "grant.refused")


def test_a_proof_for_another_cluster_is_refused(setup: MintingSetup) -> None:
    """The proof binds the audience of the service."""
    body = Build().request(CI.token(), audience="sign.example/test")
    assert setup.refused(body).outcome is Outcome.PROOF


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 10_000, b'{"token": 1}'])
def test_a_body_that_is_no_request_is_malformed(setup: MintingSetup, body: bytes) -> None:
    """Each such body is refused."""
    refused = setup.refused(body)
    assert (refused.outcome, refused.code) == (Outcome.MALFORMED, "grant.malformed")


def test_an_unknown_tenant_is_refused_as_one_without_a_rule(setup: MintingSetup) -> None:
    """The names of tenants are not told."""
    known = setup.refused(Build().request(CI.token(), "nothing"))
    unknown = setup.refused(Build().request(CI.token(), "nothing", tenant="globex"))
    assert known.message == unknown.message


def test_a_request_without_token_and_certificate_is_refused(setup: MintingSetup) -> None:
    """An empty token asks for an identity by certificate, and there is none."""
    assert setup.refused(Build().request("")).outcome is Outcome.CERTIFICATE


def test_an_unknown_key_has_the_keys_fetched(setup: MintingSetup) -> None:
    """The caller is told to come back in two seconds."""
    setup.site.write_keys(setup.now_s - 60)
    refused = setup.refused(Build().request(CI.token({"kid": "second"})))
    assert (refused.outcome, refused.code) == (Outcome.UNAVAILABLE, "issuer.unavailable")
    assert refused.retry_after_s == 2.0
    assert setup.refresh.wanted == ["github"]


def test_new_keys_are_in_force_at_the_next_request(setup: MintingSetup) -> None:
    """The file is read again when it has changed."""
    token = CI.token()
    setup.site.write_keys(keys=[])
    assert setup.refused(Build().request(token)).outcome is Outcome.KEY
    setup.site.write_keys()
    setup.granted(Build().request(token))


def test_old_keys_are_used_while_the_provider_is_away_but_not_for_ever(setup: MintingSetup) -> None:
    """Keys of six days verify, those of eight do not."""
    setup.site.write_keys(setup.now_s - 6 * 86400)
    setup.granted(Build().request(CI.token()))
    setup.site.write_keys(setup.now_s - 8 * 86400)
    assert "are no longer used" in setup.refused(Build().request(CI.token())).message


def test_a_tenants_file_is_in_force_at_the_next_request(setup: MintingSetup) -> None:
    """A rule that is removed gives no more grants."""
    build = Build()
    setup.granted(build.request(CI.token()))
    setup.site.write_tenant(claims='repository_id = "1"')
    assert setup.refused(build.request(CI.token())).outcome is Outcome.RULE


@pytest.mark.parametrize(
    "issuer", ['state = "revoked"', "expires = 2020-01-01T00:00:00Z"], ids=["revoked", "expired"]
)
def test_an_issuer_that_is_not_in_force_gives_nothing(setup: MintingSetup, issuer: str) -> None:
    """Revoked or expired in the tenant's file, it is as if the tenant did not name it."""
    file = setup.site.write_tenant(issuer=issuer if "state" in issuer else "")
    if "expires" in issuer:
        file.write_text(file.read_text().replace("expires = 2099-01-01T00:00:00Z", issuer))
    assert setup.refused(Build().request(CI.token())).outcome is Outcome.RULE


def test_a_tenants_file_that_is_wrong_makes_its_callers_wait(setup: MintingSetup) -> None:
    """The mistake is for the operator: callers are told to come back, and nothing of the file."""
    file = setup.site.write_tenant(more='patterns = { ref = "main" }')
    refused = setup.refused(Build().request(CI.token()))
    assert refused.outcome is Outcome.UNAVAILABLE
    assert str(file) not in refused.message


def test_a_full_register_makes_callers_wait(setup: MintingSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """No grant is signed for a token that could not be recorded."""

    def full(*_: object, **__: object) -> None:
        raise IssuerUnavailable("full", retry_after_s=60.0)

    monkeypatch.setattr(UsedTokens, "bind", full)
    assert setup.refused(Build().request(CI.token())).retry_after_s == 60.0


def test_a_subject_of_any_text_is_in_the_grant_as_ascii(setup: MintingSetup) -> None:
    """Other characters are percent-encoded: one text has one form in logs and stop orders."""
    grant = setup.granted(Build().request(CI.token(sub="büild\n")))
    assert grant.subject == "b%C3%BCild%0A"
