"""Tests of the pipelines in ops/ci: commands that the program understands, settings that load, and nothing secret."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from queueing.client.config import ClientConfig
from tests.support.fakes.config_files import p256_key, spki_text
from tests.unit.docs.test_documented_commands import understood

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "ops" / "ci"
SYSTEMS = ("azure", "github", "gitlab", "jenkins")
PIPELINES = sorted({*FOLDER.rglob("*.yml"), *FOLDER.rglob("Jenkinsfile")})
SIGNING = [file for file in PIPELINES if "sigmill sign-file" in file.read_text()]
_COMMAND = re.compile(r"(?:^|\s)(sigmill (?:[a-z]+-)*[a-z]+ --.*)$", re.MULTILINE)


def shown(file: Path) -> str:
    return str(file.relative_to(FOLDER))


def read(name: str) -> dict[Any, Any]:
    content: dict[Any, Any] = yaml.safe_load((FOLDER / name).read_text())
    return content


def client(system: str, folder: Path) -> ClientConfig:
    """client.toml of a system, with a complete key instead of the abbreviated one."""
    text = (FOLDER / system / "client.toml").read_text().replace("MFkwEwYH…", spki_text(p256_key(1)))
    file = folder / "client.toml"
    file.write_text(text)
    return ClientConfig.from_file(file)


def test_each_system_has_its_pipeline_and_its_client() -> None:
    assert sorted(folder.name for folder in FOLDER.iterdir() if folder.is_dir()) == list(SYSTEMS)
    assert {file.parent.name for file in SIGNING} == set(SYSTEMS)
    assert all((FOLDER / system / "client.toml").is_file() for system in SYSTEMS)


@pytest.mark.parametrize("file", SIGNING, ids=shown)
def test_a_command_of_a_pipeline_is_understood(file: Path) -> None:
    """It has all required arguments and no unknown option."""
    commands = _COMMAND.findall(file.read_text())
    assert commands
    for command in commands:
        understood(command, shown(file))


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_client_signs_by_relay_and_issuer_with_the_identity_of_its_system(
    system: str, tmp_path: Path
) -> None:
    """No Redis, no key of its own, and a grant for the keys that the pipeline uses only."""
    config = client(system, tmp_path)
    assert config.url is not None
    assert config.issuer is not None
    assert config.identity is not None
    assert config.identity.platform == system
    assert config.identity.keys == ("release",)
    assert config.private_key_file is None


@pytest.mark.parametrize("file", PIPELINES, ids=shown)
def test_no_pipeline_reads_a_stored_secret(file: Path) -> None:
    """Neither GitHub's secrets, nor variables of a vault; Jenkins' one credential makes a token for the build."""
    text = file.read_text()
    assert not re.search(r"secrets\.|password|PASSWORD|private_key|AzureKeyVault", text)
    assert re.findall(r"credentialsId: '(\w+)'", text) == (["sigmill"] if "withCredentials" in text else [])


@pytest.mark.parametrize("file", SIGNING, ids=shown)
def test_what_is_installed_has_hashes(file: Path) -> None:
    """A package that an attacker put into the index would run with the job's token."""
    installing = re.findall(r".* install .*", file.read_text())
    assert installing
    assert all("--require-hashes" in line for line in installing)


def test_an_action_is_named_by_its_commit_with_its_version() -> None:
    """A tag can be moved to other code."""
    text = (FOLDER / "github" / "release.yml").read_text()
    uses = [line.split("uses: ")[1] for line in text.splitlines() if "uses: " in line]
    assert uses
    for each in uses:
        assert each == "./.github/actions/sigmill" or re.fullmatch(
            r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[0-9.]+", each
        )


def test_on_github_only_the_job_that_signs_may_ask_for_a_token(tmp_path: Path) -> None:
    workflow = read("github/release.yml")
    assert workflow["permissions"] == {}
    asking = [name for name, job in workflow["jobs"].items() if "id-token" in job["permissions"]]
    assert asking == ["sign"]
    assert workflow["jobs"]["sign"]["permissions"]["id-token"] == "write"
    assert client("github", tmp_path).identity.audience in (FOLDER / "README.md").read_text()  # type: ignore[union-attr, operator]


def test_an_input_of_the_action_is_no_part_of_its_script() -> None:
    """Inputs come as variables: a file name with a semicolon is not run."""
    action = read("github/action.yml")
    assert not [step["name"] for step in action["runs"]["steps"] if "${{" in step["run"]]


def test_gitlab_puts_the_token_where_the_client_looks(tmp_path: Path) -> None:
    identity = client("gitlab", tmp_path).identity
    assert identity is not None
    tokens = read("gitlab/sigmill.gitlab-ci.yml")["sign"]["id_tokens"]
    assert list(tokens) == [identity.variable]
    assert f'audience = "{tokens[identity.variable]["aud"]}"' in (FOLDER / "README.md").read_text()


def test_azure_maps_the_access_token_into_the_step_that_signs_alone() -> None:
    jobs = read("azure/azure-pipelines.yml")["jobs"]
    (sign,) = [job for job in jobs if "deployment" in job]
    steps = sign["strategy"]["runOnce"]["deploy"]["steps"]
    mapped = [step for step in steps if "SYSTEM_ACCESSTOKEN" in step.get("env", {})]
    assert [step["displayName"] for step in mapped] == ["Sign"]
    assert (FOLDER / "azure" / "azure-pipelines.yml").read_text().count("$(System.AccessToken)") == 1


def test_jenkins_binds_the_token_where_the_client_looks(tmp_path: Path) -> None:
    identity = client("jenkins", tmp_path).identity
    assert identity is not None
    bound = re.findall(r"variable: '(\w+)'", (FOLDER / "jenkins" / "Jenkinsfile").read_text())
    assert bound == [identity.variable]
