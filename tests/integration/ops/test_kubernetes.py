"""Tests of the manifests in ops/kubernetes: valid by the API's schemas, and suitable for the service."""

from __future__ import annotations

import re
import subprocess
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from tests.support.tools import tool
from workers.cli.issuer.serve import DRAIN_S
from workers.config.loading import load_configuration
from workers.config.settings import ExporterSettings, MetricsSettings
from workers.issuer.issuer_file import load_issuer
from workers.relay.settings import RelaySettings

FOLDER = Path(__file__).parents[3] / "ops" / "kubernetes"
LABELS = {"app.kubernetes.io/name": "sigmill", "app.kubernetes.io/component": "worker"}
NOT_OF_THE_API = {"Kustomization", "ScaledObject"}

Manifest = dict[str, Any]

TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
SCALED_OBJECT: Manifest = {  # what keda.sh/v1alpha1 has of ours (KEDA 2.17, ScaledObject specification)
    "type": "object",
    "required": ["scaleTargetRef", "triggers"],
    "additionalProperties": False,
    "properties": {
        "scaleTargetRef": {
            "type": "object",
            "required": ["name"],
            "additionalProperties": False,
            "properties": {k: {"type": "string"} for k in ("apiVersion", "kind", "name")},
        },
        **{
            name: {"type": "integer", "minimum": 1}
            for name in ("minReplicaCount", "maxReplicaCount", "pollingInterval", "cooldownPeriod")
        },
        "advanced": {
            "type": "object",
            "additionalProperties": False,
            "properties": {"horizontalPodAutoscalerConfig": {"type": "object", "required": ["behavior"]}},
        },
        "triggers": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["type", "metadata"],
                "additionalProperties": False,
                "properties": {
                    "type": {"const": "prometheus"},
                    "metricType": {"enum": ["AverageValue", "Value"]},
                    "metadata": {**TEXTS, "required": ["serverAddress", "query", "threshold"]},
                },
            },
        },
    },
}


@cache
def read(file: Path) -> list[Manifest]:
    """Its documents, which tests do not change: the parser takes longer than what they look at."""
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


def everything() -> list[Manifest]:
    return [manifest for file in sorted(FOLDER.rglob("*.yaml")) for manifest in read(file)]


def name_of(manifest: Manifest) -> str:
    return f"{manifest['kind']}/{manifest.get('metadata', {}).get('name', '')}"


def one(kind: str, name: str = "sigmill-worker") -> Manifest:
    (found,) = [m for m in everything() if m["kind"] == kind and m["metadata"]["name"] == name]
    return found


def pod_specs() -> list[tuple[str, Manifest]]:
    return [
        (name_of(m), m["spec"]["template"]["spec"])
        for m in everything()
        if m["kind"] in {"StatefulSet", "Deployment", "Job"}
    ]


VERSIONS = ("1.29", "1.33", "1.37")
"""API versions: the first with all features used (ReadWriteOncePod is stable from 1.29), one in between, the newest."""


@pytest.fixture(autouse=True)
def _schemas_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The validator reads megabytes of JSON for each manifest."""
    monkeypatch.setattr(kubernetes_validate.utils, "schema_contents", SCHEMA_CONTENTS)


SCHEMA_CONTENTS = cache(kubernetes_validate.utils.schema_contents)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "manifest", [m for m in everything() if m["kind"] not in NOT_OF_THE_API], ids=name_of
)
def test_a_manifest_is_as_the_api_wants_it(manifest: Manifest, version: str) -> None:
    """A manifest is valid in strict mode: unknown fields are errors."""
    kubernetes_validate.validate(manifest, version, strict=True)


def test_a_mistake_would_be_found() -> None:
    """The validator reports an unknown field."""
    wrong = deepcopy(one("StatefulSet"))
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_kustomize_takes_every_file_that_belongs_to_the_service() -> None:
    """The kustomization contains every file except the job, which is applied by hand for one pod."""
    (kustomization,) = read(FOLDER / "kustomization.yaml")
    files = {path.name for path in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(kustomization["resources"]) == files
    for generator in kustomization["configMapGenerator"]:
        for file in generator["files"]:
            assert (FOLDER / file).is_file()


def test_the_configuration_in_the_config_map_is_one() -> None:
    """The service file in the config map is valid, with the ports that are probed and scraped."""
    text = (FOLDER / "config" / "sigmill.toml").read_text()
    assert 'tenants_dir = "/etc/sigmill-tenants"' in text
    service = load_configuration_with_tenants(text)
    assert service.metrics == MetricsSettings(host="0.0.0.0")  # noqa: S104 - a pod's own network
    assert service.exporter == ExporterSettings(host="0.0.0.0")  # noqa: S104


def load_configuration_with_tenants(text: str) -> Any:
    file = FOLDER / "config" / "sigmill.toml"
    from queueing.config.toml import parse_toml
    from workers.config.service_file import service_of

    return service_of(file, parse_toml(file, text))


def test_the_example_tenant_is_one(tmp_path: Path) -> None:
    """The example tenant's file is valid together with the service's file."""
    (tmp_path / "tenants").mkdir()
    (tmp_path / "tenants" / "acme.toml").write_bytes((FOLDER / "config" / "acme.toml").read_bytes())
    text = (FOLDER / "config" / "sigmill.toml").read_text().replace("/etc/sigmill-tenants", "tenants")
    (tmp_path / "sigmill.toml").write_text(text)
    assert list(load_configuration(tmp_path / "sigmill.toml").tenants) == ["acme"]


def test_the_files_of_relay_and_issuer_are_valid() -> None:
    """With the ports that are probed, scraped and reached; the front's uid is that of its container."""
    relay = RelaySettings.from_file(FOLDER / "config" / "relay.toml")
    issuer = load_issuer(FOLDER / "config" / "issuer.toml")
    for name, kind, port, metrics in (
        ("sigmill-relay", "Deployment", relay.port, relay.metrics.port),
        ("sigmill-issuer", "StatefulSet", issuer.http.port, issuer.metrics.port),
    ):
        containers = one(kind, name)["spec"]["template"]["spec"]["containers"]
        (ports,) = [each["ports"] for each in containers if "ports" in each]
        assert {each["name"]: each["containerPort"] for each in ports} == {"https": port, "metrics": metrics}
        assert {p["name"]: p["port"] for p in one("Service", name)["spec"]["ports"]} == {
            "https": port,
            "metrics": metrics,
        }
    assert relay.metrics.host == issuer.metrics.host == issuer.http.host == "0.0.0.0"  # noqa: S104
    assert issuer.front_uid == containers_of_issuer()["front"]["securityContext"]["runAsUser"]
    assert issuer.tenants_dir == Path("/etc/sigmill-tenants")


def containers_of_issuer() -> dict[str, Manifest]:
    spec = one("StatefulSet", "sigmill-issuer")["spec"]["template"]["spec"]
    return {each["name"]: each for each in spec["containers"]}


def test_front_lane_and_refresh_are_three_users() -> None:
    """Only the lane mounts the PIN, only the front the key of its certificate; keys and sockets are written by one process each."""
    containers = containers_of_issuer()
    assert len({each["securityContext"]["runAsUser"] for each in containers.values()}) == 3
    mounted = {
        name: {mount["name"]: mount.get("readOnly", False) for mount in each["volumeMounts"]}
        for name, each in containers.items()
    }
    for volume, owner in (("credentials", "lane"), ("state", "lane"), ("tls", "front")):
        assert [name for name, mounts in mounted.items() if volume in mounts] == [owner]
    for volume, owner in (("keys", "refresh"), ("lane-socket", "lane"), ("refresh-socket", "refresh")):
        assert [name for name, mounts in mounted.items() if not mounts.get(volume, True)] == [owner]
    folders = {
        mount["name"]: Path(mount["mountPath"])
        for each in containers.values()
        for mount in each["volumeMounts"]
    }
    issuer = load_issuer(FOLDER / "config" / "issuer.toml")
    assert issuer.socket is not None
    assert issuer.refresh_socket is not None
    assert issuer.socket.parent == folders["lane-socket"]
    assert issuer.refresh_socket.parent == folders["refresh-socket"]
    assert one("StatefulSet", "sigmill-issuer")["spec"]["replicas"] == 1, "one register of used tokens"


@pytest.mark.parametrize("name", ["sigmill-relay", "sigmill-issuer"])
def test_relay_and_issuer_drain_and_are_evicted_one_at_a_time(name: str) -> None:
    """The grace period exceeds the drain; budget, service and pods have the same labels; probes ask what they should."""
    (pods,) = [m for m in everything() if name_of(m) in {f"Deployment/{name}", f"StatefulSet/{name}"}]
    labels = pods["spec"]["selector"]["matchLabels"]
    assert one("PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"] == labels
    assert one("Service", name)["spec"]["selector"] == labels
    spec = pods["spec"]["template"]["spec"]
    drain_s = max(DRAIN_S, RelaySettings.from_file(FOLDER / "config" / "relay.toml").drain_s)
    assert spec["terminationGracePeriodSeconds"] >= drain_s + 10
    (asked,) = [each for each in spec["containers"] if "ports" in each]
    assert asked["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert asked["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_the_issuer_does_not_reach_redis() -> None:
    """The policy of Redis excludes the issuer, and that of the providers selects it alone."""
    (rule,) = one("NetworkPolicy", "redis")["spec"]["podSelector"]["matchExpressions"]
    assert (rule["operator"], rule["values"]) == ("NotIn", ["issuer"])
    selector = one("NetworkPolicy", "providers-of-tokens")["spec"]["podSelector"]
    assert selector["matchLabels"]["app.kubernetes.io/component"] == "issuer"


@pytest.mark.parametrize("spec", [s for _, s in pod_specs()], ids=[n for n, _ in pod_specs()])
def test_a_pod_runs_as_nobody_and_writes_nowhere_but_to_its_volumes(spec: Manifest) -> None:
    """A pod meets Kubernetes' restricted profile and has a read-only root."""
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["runAsUser"] == 10001, "the image's user"
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "memory" in container["resources"]["limits"]
        assert "cpu" not in container["resources"]["limits"], "throttling a signer only adds latency"


def test_a_pod_may_drain_for_as_long_as_the_worker_does() -> None:
    """The grace period of a pod is longer than the worker's drain deadline."""
    text = (FOLDER / "config" / "sigmill.toml").read_text()
    found = re.search(r"^drain_s = ([\d.]+)$", text, re.MULTILINE)
    assert found
    grace = one("StatefulSet")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace >= float(found.group(1)) + 10


def test_probes_ask_what_they_should() -> None:
    """The liveness probe is ``/healthz``, since an outage of Redis or an HSM must not restart a pod."""
    (worker,) = one("StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert worker["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    assert worker["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    assert worker["ports"] == [{"name": "metrics", "containerPort": MetricsSettings().port}]


def test_a_log_outlives_its_pod_and_its_set() -> None:
    """Neither scaling in nor deleting the set removes the volume with the log."""
    spec = one("StatefulSet")["spec"]
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    (claim,) = spec["volumeClaimTemplates"]
    text = (FOLDER / "release" / "job.yaml").read_text()
    assert f"claimName: {claim['metadata']['name']}-{one('StatefulSet')['metadata']['name']}-NUMBER" in text
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"], "one log has one writer"
    (seal,) = read(FOLDER / "release" / "job.yaml")[0]["spec"]["template"]["spec"]["containers"]
    assert seal["args"][:2] == ["audit", "seal"]


def test_scaling_budget_and_service_mean_the_same_pods() -> None:
    """Scaling, disruption budget and service select the same pods."""
    assert one("ScaledObject")["spec"]["scaleTargetRef"]["name"] == "sigmill-worker"
    assert one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == LABELS
    assert one("Service")["spec"]["selector"] == LABELS
    assert one("StatefulSet")["spec"]["selector"]["matchLabels"] == LABELS
    assert "replicas" not in one("StatefulSet")["spec"], "an apply would undo what the scaler did"


def test_the_scaled_object_is_as_keda_wants_it() -> None:
    jsonschema.validate(one("ScaledObject")["spec"], SCALED_OBJECT)


def test_the_scalers_query_is_promql_over_metrics_that_there_are(tmp_path: Path) -> None:
    """The scaler's query is valid PromQL with existing metrics."""
    (trigger,) = one("ScaledObject")["spec"]["triggers"]
    query = trigger["metadata"]["query"]
    rules = {"groups": [{"name": "scaling", "rules": [{"record": "scaling:query", "expr": query}]}]}
    file = tmp_path / "scaling.rules.yml"
    file.write_text(yaml.safe_dump(rules))
    done = subprocess.run(
        [tool("promtool"), "check", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    page = (FOLDER.parents[1] / "docs" / "reference" / "metrics.md").read_text()
    names = set(re.findall(r"sigmill_\w+", query))
    assert names
    assert all(f"`{name}`" in page for name in names)


def test_everything_that_is_not_allowed_is_forbidden() -> None:
    """One policy denies all traffic of all pods; each other policy allows specific ports."""
    closed = one("NetworkPolicy", "nothing-else")["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for policy in [m for m in everything() if m["kind"] == "NetworkPolicy"]:
        for direction in ("ingress", "egress"):
            for rule in policy["spec"].get(direction, []):
                assert rule["ports"], name_of(policy)
                assert rule["from" if direction == "ingress" else "to"], name_of(policy)


def test_secrets_are_copied_for_the_user_alone_and_are_in_no_manifest() -> None:
    """Secrets are copied with mode 0600, since a Secret's files are group-readable (fsGroup); no manifest contains one."""
    assert not [m for m in everything() if m["kind"] == "Secret"]
    spec = one("StatefulSet")["spec"]["template"]["spec"]
    (copying,) = spec["initContainers"]
    assert "install -m 600" in copying["command"][-1]
    (worker,) = spec["containers"]
    mounted = {mount["name"] for mount in worker["volumeMounts"]}
    assert not [v for v in spec["volumes"] if "secret" in v and v["name"] in mounted]
    (volume,) = [v for v in spec["volumes"] if v["name"] == "credentials"]
    assert volume["emptyDir"]["medium"] == "Memory"
    assert {"name": "CREDENTIALS_DIRECTORY", "value": "/run/credentials"} in worker["env"]
