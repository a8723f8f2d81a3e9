"""Composition of the parts through which a job goes: claim loop and pipeline, and the keeper of their leases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workers.intake.claim_loop import ClaimLoop
from workers.intake.claim_planner import ClaimPlanner
from workers.intake.claimer import Claimer
from workers.intake.held_shards import HeldShards
from workers.lifecycle.heartbeat import Heartbeat
from workers.pipeline.committer import Committer
from workers.pipeline.dispatcher import Dispatcher, Pipeline
from workers.pipeline.forgeries import ForgeryGuard
from workers.pipeline.lease_keeper import LeaseKeeper
from workers.pipeline.recovered_results import RecoveredResults
from workers.pipeline.refusal_review import RefusalReview
from workers.pipeline.result_publisher import ResultPublisher
from workers.pipeline.retry import JobReturner
from workers.pipeline.router import Router
from workers.pipeline.settlement import JobSettlement
from workers.pipeline.unauthenticated import UnauthenticatedJobs

if TYPE_CHECKING:
    from workers.composition.foundation import Foundation, Limits


def make_pipeline(base: Foundation, limits: Limits) -> Pipeline:
    """Pipeline from a claimed job to its result or its return."""
    settlement = JobSettlement(
        budgets=limits.budgets,
        grants=limits.grants,
        limiter=limits.limiter,
        jobs=base.jobs,
        listener=base.ready_tenants,
    )
    unauthenticated = UnauthenticatedJobs(base.metrics, base.wal)
    forgeries = ForgeryGuard(base.config.service.state_dir)
    recovered = RecoveredResults()
    publisher = ResultPublisher(
        Committer(
            base.claims,
            config=base.config,
            wal=base.wal,
            recovered=recovered,
            settlement=settlement,
            unauthenticated=unauthenticated,
            metrics=base.metrics,
        ),
        wal=base.wal,
        recovered=recovered,
        forgeries=forgeries,
        owner=base.owner,
    )
    return Pipeline(
        dispatcher=Dispatcher(
            Router(
                base.config,
                lanes=base.lanes,
                stop_orders=base.stop_orders,
                forgeries=forgeries,
                metrics=base.metrics,
            ),
            limiter=limits.limiter,
            shares=limits.shares,
            budgets=limits.budgets,
            grants=limits.grants,
            wal=base.wal,
            shutdown=base.shutdown,
            metrics=base.metrics,
        ),
        review=RefusalReview(
            base.published_epochs, results=publisher, forgeries=forgeries, metrics=base.metrics
        ),
        publisher=publisher,
        unauthenticated=unauthenticated,
        forgeries=forgeries,
        returner=JobReturner(
            base.claims,
            wal=base.wal,
            lanes=base.lanes,
            settlement=settlement,
            shutdown=base.shutdown,
            metrics=base.metrics,
        ),
    )


def make_claim_loop(base: Foundation, limits: Limits, pipeline: Pipeline) -> ClaimLoop:
    """Claim loop, which feeds the pipeline."""
    held = HeldShards(base.claims, pipeline.publisher)
    return ClaimLoop(
        base.config,
        ready=base.ready_tenants,
        planner=ClaimPlanner(
            base.config.service.worker,
            ready=base.ready_tenants,
            lanes=base.lanes,
            limiter=limits.limiter,
            shares=limits.shares,
            held=held,
            log_shares=base.log_shares,
        ),
        claimer=Claimer(
            base.claims,
            pipeline=pipeline,
            ready=base.ready_tenants,
            limiter=limits.limiter,
            jobs=base.jobs,
            held=held,
            metrics=base.metrics,
        ),
        wal=base.wal,
        shutdown=base.shutdown,
    )


def make_lease_keeper(base: Foundation, heartbeat: Heartbeat) -> LeaseKeeper:
    """Keeper of the leases of all claimed jobs."""
    service = base.config.service
    return LeaseKeeper(
        service.redis,
        owner=base.owner,
        lease_s=service.worker.lease_s,
        jobs=base.jobs,
        heartbeat=heartbeat,
        metrics=base.metrics,
    )
