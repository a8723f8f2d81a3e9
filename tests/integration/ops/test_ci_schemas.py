"""Tests of the pipelines in ops/ci against the schemas of their systems, which check-jsonschema brings: no network is asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

FOLDER = Path(__file__).parents[3] / "ops" / "ci"
SCHEMAS = {
    "github/release.yml": ("vendor.github-workflows", "on:\n", "no:\n"),
    "github/action.yml": ("vendor.github-actions", "using: composite", "using: compost"),
    "gitlab/sigmill.gitlab-ci.yml": ("vendor.gitlab-ci", "id_tokens:", "id_token:"),
    "azure/azure-pipelines.yml": ("vendor.azure-pipelines", "dependsOn: build", "dependOn: build"),
}
"""Schema of each file, and a slip of the pen that it must find."""


def check(file: Path, schema: str) -> Result:
    """Run the checker's command. The schema of Azure has patterns that are valid without Unicode's rules only."""
    from check_jsonschema import main  # type: ignore[import-untyped]  # slow to import

    return CliRunner().invoke(
        main, ["--builtin-schema", schema, "--regex-variant", "nonunicode", str(file)], catch_exceptions=False
    )


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_pipeline_is_valid_by_the_schema_of_its_system(name: str) -> None:
    done = check(FOLDER / name, SCHEMAS[name][0])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_finds_a_slip_of_the_pen(name: str, tmp_path: Path) -> None:
    """A wrong field is an error, so that a valid file means something."""
    schema, text, wrong = SCHEMAS[name]
    original = (FOLDER / name).read_text()
    assert original.count(text) == 1
    changed = tmp_path / Path(name).name
    changed.write_text(original.replace(text, wrong))
    done = check(changed, schema)
    assert done.exit_code == 1, done.output
    assert "Schema validation errors" in done.output


def test_every_pipeline_in_yaml_has_a_schema() -> None:
    assert {str(file.relative_to(FOLDER)) for file in FOLDER.rglob("*.yml")} == set(SCHEMAS)
