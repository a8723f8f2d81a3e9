"""Ranges of the configuration's numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from queueing.client.config import ClientConfig
from queueing.config.redis import RedisConfig
from queueing.protocol.key_directory import LARGEST_EPOCH
from tests.support.fakes.config_files import Site, service_text, tenant_text
from workers.config import settings
from workers.config.loading import load_configuration


def _numbers(path: str, info: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(info, msgspec.inspect.Metadata):
        yield from _numbers(path, info.type)
    elif isinstance(info, msgspec.inspect.IntType | msgspec.inspect.FloatType):
        yield path, info
    elif isinstance(info, msgspec.inspect.UnionType):
        for form in info.types:
            yield from _numbers(path, form)
    elif isinstance(info, msgspec.inspect.StructType):
        for field in info.fields:
            yield from _numbers(f"{path}.{field.encode_name}", field.type)
    elif isinstance(info, msgspec.inspect.DictType):
        yield from _numbers(path, info.value_type)
    elif isinstance(info, msgspec.inspect.VarTupleType):
        yield from _numbers(f"{path}[]", info.item_type)


TABLES = [
    ClientConfig,
    RedisConfig,
    *(table for name, table in vars(settings).items() if name.endswith("Settings")),
]
NUMBERS = [found for table in TABLES for found in _numbers(table.__name__, msgspec.inspect.type_info(table))]


@pytest.mark.parametrize("path, info", NUMBERS, ids=[path for path, _ in NUMBERS])
def test_each_number_has_a_range(path: str, info: Any) -> None:
    """Without one a number could be too large to be encoded, or to be waited for."""
    assert info.ge is not None or info.gt is not None, path
    assert info.le is not None or info.lt is not None, path


@pytest.mark.parametrize("epoch", [2**53, 2**63, 2**64, -1])
def test_an_epoch_that_could_not_be_announced_is_refused(tmp_path: Path, epoch: int) -> None:
    """Once adopted it could never be taken back: an epoch only grows."""
    site = Site(tmp_path)
    site.tenants = {"acme": tenant_text().replace("epoch = 4", f"epoch = {epoch}")}
    assert site.mistake().key == "epoch"
    site.tenants = {"acme": tenant_text()}
    site.service = service_text().replace("[service]\n", f"[service]\nepoch = {epoch}\n")
    assert site.mistake().key == "service.epoch"


def test_the_largest_epoch_is_accepted(tmp_path: Path) -> None:
    """It is exact in JSON, in msgpack and in Lua."""
    site = Site(tmp_path)
    site.tenants = {"acme": tenant_text().replace("epoch = 4", f"epoch = {LARGEST_EPOCH}")}
    assert load_configuration(site.write().config).tenants["acme"].epoch == LARGEST_EPOCH
