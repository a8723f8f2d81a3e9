"""Metrics: names by the rule, labels from closed sets, whatever comes in from outside."""

from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from queueing.errors import RESULT_REASONS
from queueing.protocol.algorithms import Algorithm
from workers.telemetry.metrics import Metrics, algorithm_label, reason_label

LABELS = {
    *("tenant", "algorithm", "reason", "outcome", "token", "operation", "class", "result", "event"),
    *("process", "version", "python", "source", "issuer"),
}
UNITS = ("_seconds", "_digests", "_jobs", "_bytes")


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry)


@pytest.mark.parametrize("name", ["ECDSA_SHA_1", "", "x" * 64, 'a"} 1\nevil{b="', "ecdsa_sha_256"])
def test_an_algorithm_that_is_none_of_ours_is_other(name: str) -> None:
    """A request makes no new label."""
    assert algorithm_label(name) == "other"
    assert reason_label(name) == "other"


def test_every_algorithm_and_reason_is_its_own_label() -> None:
    """Both are closed sets."""
    assert [algorithm_label(name) for name in Algorithm] == list(Algorithm)
    assert [reason_label(reason) for reason in RESULT_REASONS] == list(RESULT_REASONS)


def test_labels_are_of_the_few_that_are_bounded() -> None:
    """No job, digest, client, key or fingerprint among them."""
    assert {label for _, declared in Metrics.declarations() for label in declared.facts.labels} == LABELS


def test_names_follow_the_rule(metrics: Metrics, registry: CollectorRegistry) -> None:
    """The prefix, small letters, and the unit of a histogram; the help is a sentence."""
    families = list(registry.collect())
    assert len(families) == len(list(Metrics.declarations()))
    for family in families:
        assert re.fullmatch(r"sigmill_[a-z][a-z_]*[a-z]", family.name), family.name
        assert family.documentation.endswith("."), family.name
        if family.type == "histogram":
            assert family.name.endswith(UNITS), family.name


def test_counters_have_no_creation_times(metrics: Metrics, registry: CollectorRegistry) -> None:
    """A counter is one series for its labels."""
    metrics.signatures.labels("acme", "ED25519").inc()
    page = generate_latest(registry).decode()
    assert "_created" not in page
    assert 'sigmill_signatures_total{algorithm="ED25519",tenant="acme"} 1.0' in page


def test_two_workers_in_one_process_do_not_share_metrics() -> None:
    """Each has a registry of its own."""
    assert Metrics(CollectorRegistry()).jobs is not Metrics(CollectorRegistry()).jobs
