"""One token serves one tenant: two tables that find it in different ways are told apart when a lane logs in."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from queueing import Signature, WaitTimeout
from queueing.protocol.algorithms import KeyKind
from tests.support.farm.farm import digests
from tests.support.rig.rig import MakeRig
from tests.support.waiting import until_async
from workers.config.settings import TokenSettings


async def test_a_token_under_two_names_serves_its_first_owner(make_rig: MakeRig) -> None:
    """The second lane ends with the reason, and its digests have no result; the first owner's are signed
    before and after.
    """
    rig = make_rig(tenants={"acme": KeyKind.P256, "globex": KeyKind.P256})
    first = rig.tokens["acme"].settings

    def wrap(settings: TokenSettings) -> TokenSettings:
        if settings.select.label != "globex":
            return settings
        return replace(first, environment={**first.environment, "UNRELATED": "1"})

    rig.wrap = wrap
    worker = rig.start_worker()
    async with rig.client("acme") as acme, rig.client("globex") as globex:
        assert isinstance(await acme.sign("release", digests(1)[0]), Signature)
        waiting = await globex.submit("release", digests(2))
        await until_async(
            lambda: worker.metric("sigmill_token_circuit_open", token="globex") == 1, "the token is not used"
        )
        with pytest.raises(WaitTimeout):
            await globex.wait(waiting, timeout_s=0.5)  # meanwhile nothing is signed
        reason = "finds the token of tokens.acme of acme"
        await until_async(lambda: reason in worker.log(), "the reason is logged")
        assert isinstance(await acme.sign("release", digests(3)[2]), Signature)
    assert worker.metric("sigmill_lanes", token="globex") == 0
