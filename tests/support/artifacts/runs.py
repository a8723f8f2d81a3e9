"""Runs of a batch over files of a test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from queueing.artifacts.batch import Artifact, Batch, FileOutcome, KeyUse, Stamper
from queueing.artifacts.preparation import IfSigned, Order
from queueing.artifacts.targets import Target
from tests.support.artifacts.local_signer import LocalSigner


@dataclass(slots=True)
class Outcomes:
    """Receiver of outcomes."""

    all: list[FileOutcome] = field(default_factory=list)

    def add(self, outcome: FileOutcome) -> None:
        self.all.append(outcome)

    def words(self) -> list[str]:
        """``signed``, ``unchanged`` or the code of the error, for each file."""
        return [
            outcome.error.reason if outcome.error else "signed" if outcome.signature else "unchanged"
            for outcome in self.all
        ]

    def message(self) -> str:
        """Sentence of the only outcome's error."""
        (outcome,) = self.all
        return outcome.error.message if outcome.error else ""


async def sign(
    key: LocalSigner,
    *files: Path | Artifact,
    out_dir: Path | None = None,
    if_signed: IfSigned = IfSigned.REFUSE,
    order: Order | None = None,
    stamper: Stamper | None = None,
) -> Outcomes:
    """Sign files in place, or below ``out_dir`` by their names."""
    outcomes = Outcomes()
    artifacts: Sequence[Artifact] = [
        file
        if isinstance(file, Artifact)
        else Artifact(
            path=file, target=Target(file) if out_dir is None else Target.below(out_dir, Path(file.name))
        )
        for file in files
    ]
    use = KeyUse(key="release/1", request_id=None, timeout_s=None)
    await Batch(key, use, order or Order(signer=key.signer, if_signed=if_signed), stamper).run(
        artifacts, outcomes
    )
    return outcomes
