"""Steps of the pipelines in ops/ci that sign, as their files have them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[3] / "ops" / "ci"


def loaded(name: str) -> dict[Any, Any]:
    content: dict[Any, Any] = yaml.safe_load((FOLDER / name).read_text())
    return content


@dataclass(frozen=True, slots=True)
class Step:
    """Script of a step, the shell that the system runs it by, and the variables that the pipeline gives it."""

    script: str
    shell: tuple[str, ...]
    variables: dict[str, str]


def github() -> Step:
    """The action with the inputs of the workflow."""
    (call,) = [
        step
        for step in loaded("github/release.yml")["jobs"]["sign"]["steps"]
        if "key" in step.get("with", {})
    ]
    action = loaded("github/action.yml")
    inputs = {name: each.get("default", "") for name, each in action["inputs"].items()} | call["with"]
    (sign,) = [step for step in action["runs"]["steps"] if step["name"] == "Sign"]
    given = {
        name: inputs[text.removeprefix("${{ inputs.").removesuffix(" }}")]
        for name, text in sign["env"].items()
    }
    return Step(sign["run"], ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c"), given)


def gitlab() -> Step:
    job = loaded("gitlab/sigmill.gitlab-ci.yml")["sign"]
    return Step("\n".join(job["script"]), ("sh", "-e", "-c"), job["variables"])


def azure() -> Step:
    job = loaded("azure/azure-pipelines.yml")["jobs"][1]
    steps = job["strategy"]["runOnce"]["deploy"]["steps"]
    (sign,) = [step for step in steps if step.get("displayName") == "Sign"]
    return Step(sign["bash"], ("bash", "--noprofile", "--norc", "-c"), {})


def jenkins() -> Step:
    scripts = re.findall(r"sh '''(.*?)'''", (FOLDER / "jenkins" / "Jenkinsfile").read_text(), re.DOTALL)
    return Step(scripts[-1], ("sh", "-xe", "-c"), {})


STEPS = {"github": github, "gitlab": gitlab, "azure": azure, "jenkins": jenkins}
