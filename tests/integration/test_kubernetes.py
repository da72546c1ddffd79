"""What is applied to Kubernetes, rendered by the real kustomize and held against the official schemas."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import kubernetes_validate
import pytest
import yaml

from consumer import settings as consumer_settings
from consumer.settings import _Settings
from deploy import alerts, dashboards
from reconciler import settings as reconciler_settings
from tests.integration.kustomize import render

pytestmark = pytest.mark.servers

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
OPERATOR: Final = DEPLOY / "kubernetes" / "overlays" / "prometheus-operator"
PARTS: Final = DEPLOY / "kubernetes" / "components"
KUBERNETES: Final = ("1.31", "1.34", "1.37")
COMPONENTS: Final = {"setup", "reader", "applier", "reconciler", "verify", "audit"}

Thing = dict[str, Any]


@pytest.fixture(scope="module")
def things() -> list[Thing]:
    """Everything that the example overlay applies."""
    return render(DEPLOY / "kubernetes" / "overlays" / "example")


def of_kind(things: list[Thing], kind: str) -> dict[str, Thing]:
    return {thing["metadata"]["name"]: thing for thing in things if thing["kind"] == kind}


def pods(things: list[Thing]) -> Iterator[tuple[Thing, Thing]]:
    """Labels and spec of every pod template."""
    for thing in things:
        spec = thing.get("spec", {})
        template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if template is not None:
            yield template["metadata"]["labels"], template["spec"]


def component(labels: Thing) -> str:
    return str(labels["app.kubernetes.io/component"])


@pytest.mark.parametrize("version", KUBERNETES)
def test_everything_is_what_the_official_schemas_ask_for(things: list[Thing], version: str) -> None:
    for thing in things:
        kubernetes_validate.validate(thing, version, strict=True)


def test_the_validation_sees_a_misspelled_field(things: list[Thing]) -> None:
    wrong = copy.deepcopy(of_kind(things, "Deployment")["reader"])
    wrong["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        kubernetes_validate.validate(wrong, KUBERNETES[0], strict=True)


def test_all_components_are_there_in_one_namespace(things: list[Thing]) -> None:
    assert {component(labels) for labels, _ in pods(things)} == COMPONENTS
    assert {thing["metadata"].get("namespace") for thing in things if thing["kind"] != "Namespace"} == {"leadstream"}


def test_no_container_has_more_rights_than_the_restricted_standard_allows(things: list[Thing]) -> None:
    namespace = of_kind(things, "Namespace")["leadstream"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for _, pod in pods(things):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert container["resources"]["limits"].keys() == {"memory"}


def test_secrets_are_files_that_nobody_else_may_read(things: list[Thing]) -> None:
    (secret,) = of_kind(things, "Secret").values()
    (config,) = of_kind(things, "ConfigMap").values()
    files = {name: path for name, path in config["data"].items() if name.endswith("_FILE")}
    assert {Path(path).name for path in files.values()} | {"ca.pem"} == set(secret["data"])
    assert not any("://" in value for value in config["data"].values())
    for _, pod in pods(things):
        (volume,) = pod["volumes"]
        assert volume["secret"] == {"secretName": secret["metadata"]["name"], "defaultMode": 0o440}
        (container,) = pod["containers"]
        (mount,) = container["volumeMounts"]
        assert {str(Path(path).parent) for path in files.values()} == {mount["mountPath"]}
        assert all("valueFrom" not in variable for variable in container.get("env", []))


def test_a_service_named_kafka_sets_nothing_that_would_be_taken_for_a_property(things: list[Thing]) -> None:
    """Kubernetes gives pods KAFKA_PORT and KAFKA_SERVICE_HOST otherwise, and every KAFKA_… is librdkafka's."""
    assert {pod.get("enableServiceLinks") for _, pod in pods(things)} == {False}


def test_every_setting_that_is_set_is_one_that_we_know(things: list[Thing]) -> None:
    known = {
        name.upper()
        for module in (consumer_settings, reconciler_settings)
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, _Settings)
        for name in kind.model_fields
    }
    (config,) = of_kind(things, "ConfigMap").values()
    variables = {name.removesuffix("_FILE") for name in config["data"]}
    variables |= {variable["name"] for _, pod in pods(things) for variable in pod["containers"][0].get("env", [])}
    assert variables <= known


def test_there_is_one_reader_which_ends_before_the_next_one_starts(things: list[Thing]) -> None:
    reader = of_kind(things, "Deployment")["reader"]["spec"]
    assert (reader["replicas"], reader["strategy"]) == (1, {"type": "Recreate"})


def test_appliers_become_more_with_the_rows_that_wait_and_never_more_than_lanes(things: list[Thing]) -> None:
    scaler = of_kind(things, "HorizontalPodAutoscaler")["applier"]["spec"]
    (config,) = of_kind(things, "ConfigMap").values()
    assert scaler["scaleTargetRef"]["name"] == "applier"
    assert scaler["maxReplicas"] == int(config["data"]["LANES"])
    metric = scaler["metrics"][0]["external"]["metric"]
    assert metric["name"] == "leadstream_lag_rows"
    assert metric["selector"] == {"matchLabels": {"deployment": config["data"]["TOPIC_PREFIX"]}}
    assert "replicas" not in of_kind(things, "Deployment")["applier"]["spec"]
    rules = yaml.safe_load((DEPLOY / "prometheus" / "rules.yml").read_text())["groups"][0]["rules"]
    adapter = (PARTS / "hpa" / "hpa.yaml").read_text()
    assert "sum(leadstream:lane_lag_rows{<<.LabelMatchers>>})" in adapter
    assert "leadstream:lane_lag_rows" in {rule["record"] for rule in rules}


@pytest.fixture
def with_parts(tmp_path: Path) -> Callable[..., list[Thing]]:
    """The base with components, rendered from a copy: kustomize wants relative paths."""
    shutil.copytree(DEPLOY / "kubernetes", tmp_path / "kubernetes")

    def rendered(*parts: str) -> list[Thing]:
        folder = tmp_path / "kubernetes" / "overlays" / "-".join(("with", *parts))
        folder.mkdir()
        components = [f"../../components/{part}" for part in parts]
        (folder / "kustomization.yaml").write_text(
            yaml.safe_dump({"resources": ["../../base"], "components": components, "namespace": "leadstream"})
        )
        return render(folder)

    return rendered


def test_nothing_that_not_every_cluster_has_is_in_the_base(with_parts: Callable[..., list[Thing]]) -> None:
    base = with_parts()
    assert {thing["kind"] for thing in base} == {
        "Namespace", "ConfigMap", "Deployment", "Service", "Job", "CronJob", "NetworkPolicy", "PodDisruptionBudget",
    }  # fmt: skip
    assert of_kind(base, "Deployment")["applier"]["spec"]["replicas"] == 2


def test_keda_scales_appliers_as_the_autoscaler_does(with_parts: Callable[..., list[Thing]]) -> None:
    found = with_parts("keda")
    scaled = of_kind(found, "ScaledObject")["applier"]["spec"]
    (scaler,) = of_kind(with_parts("hpa"), "HorizontalPodAutoscaler").values()
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (2, scaler["spec"]["maxReplicas"])
    assert scaled["advanced"]["horizontalPodAutoscalerConfig"]["behavior"] == scaler["spec"]["behavior"]
    (config,) = of_kind(found, "ConfigMap").values()
    assert f'deployment="{config["data"]["TOPIC_PREFIX"]}"' in scaled["triggers"][0]["metadata"]["query"]
    assert "replicas" not in of_kind(found, "Deployment")["applier"]["spec"]


@pytest.mark.parametrize("version", KUBERNETES)
def test_ingress_and_egress_are_what_the_official_schemas_ask_for(
    with_parts: Callable[..., list[Thing]], version: str
) -> None:
    found = with_parts("ingress", "egress")
    for thing in found:
        kubernetes_validate.validate(thing, version, strict=True)
    (ingress,) = of_kind(found, "Ingress").values()
    (config,) = of_kind(found, "ConfigMap").values()
    (rule,) = ingress["spec"]["rules"]
    assert rule["host"] in config["data"]["HTTP_ALLOWED_HOSTS"].split(",")
    for backend in (path["backend"]["service"] for path in rule["http"]["paths"]):
        assert backend["port"]["name"] in {
            port["name"] for port in of_kind(found, "Service")[backend["name"]]["spec"]["ports"]
        }
    for server in ("mysql", "kafka", "postgres"):
        assert of_kind(found, "NetworkPolicy")[server]["spec"]["egress"][0]["to"]


@pytest.mark.parametrize("asked", ["/metrics", "/health/live", "/health/ready", "/health/smart-discovery", "/healthz"])
def test_probes_and_metrics_which_take_no_token_are_not_for_those_outside(
    with_parts: Callable[..., list[Thing]], asked: str
) -> None:
    paths = ingress_paths(with_parts("ingress"))
    assert not any(passes(path, asked) for path in paths)
    assert not any(passes(path, f"/api{asked}") for path in paths)


@pytest.mark.parametrize(
    "asked",
    [
        "/", "/customers", "/customers/8911", "/dead-letters", "/docs", "/lists/conversions", "/openapi.json",
        "/static/digest/page.js", "/v1/leads/8911/precall", "/v1/conversions",
    ],
)  # fmt: skip
def test_the_page_and_the_api_are_for_those_outside(with_parts: Callable[..., list[Thing]], asked: str) -> None:
    assert any(passes(path, asked) for path in ingress_paths(with_parts("ingress")))


def ingress_paths(things: list[Thing]) -> list[Thing]:
    (ingress,) = of_kind(things, "Ingress").values()
    (rule,) = ingress["spec"]["rules"]
    paths: list[Thing] = rule["http"]["paths"]
    return paths


def passes(path: Thing, asked: str) -> bool:
    """Whether a path of an ingress lets this one in (Kubernetes, Ingress: path types)."""
    if path["pathType"] == "Exact":
        return str(path["path"]) == asked
    prefix = str(path["path"]).rstrip("/")
    return asked == prefix or asked.startswith(f"{prefix}/")


def test_every_deployment_says_when_it_is_well_and_survives_a_drained_node(things: list[Thing]) -> None:
    budgets = of_kind(things, "PodDisruptionBudget")
    deployments = of_kind(things, "Deployment")
    assert deployments.keys() == {"reader", "applier", "reconciler"}
    for name, deployment in deployments.items():
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
        alive = container["livenessProbe"]["httpGet"]["path"]
        assert alive in ("/metrics", "/health/live"), "whoever waits for another server is not started again"
        assert budgets[name]["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/component": name}


def test_each_may_reach_only_the_servers_that_it_needs(things: list[Thing]) -> None:
    reaches: dict[str, set[int]] = {name: set() for name in COMPONENTS}
    for policy in of_kind(things, "NetworkPolicy").values():
        for name in _selected(policy["spec"]["podSelector"]):
            for rule in policy["spec"].get("egress", []):
                reaches[name] |= {port["port"] for port in rule["ports"]}
    assert reaches == {
        "setup": {53, 3307, 9092, 5432},
        "reader": {53, 3307, 9092},
        "applier": {53, 9092, 5432},
        "reconciler": {53, 3307, 9092, 5432},
        "verify": {53, 3307, 5432},
        "audit": {53, 3307, 9092, 5432},
    }
    nothing = of_kind(things, "NetworkPolicy")["nothing"]["spec"]
    assert nothing == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_only_prometheus_and_the_call_centre_may_come_in(things: list[Thing]) -> None:
    spaces = {
        source["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for policy in of_kind(things, "NetworkPolicy").values()
        for rule in policy["spec"].get("ingress", [])
        for source in rule["from"]
    }
    assert spaces == {"monitoring", "call-centre"}


def test_what_prometheus_s_operator_takes_is_in_an_overlay_of_its_own(things: list[Thing]) -> None:
    watching = render(OPERATOR)
    kinds = {thing["kind"] for thing in watching}
    assert kinds == {"PodMonitor", "PrometheusRule", "ConfigMap"}
    assert {thing["metadata"]["namespace"] for thing in watching} == {"leadstream"}
    assert not {"PodMonitor", "PrometheusRule"} & {thing["kind"] for thing in things}


def test_every_pod_that_tells_metrics_is_scraped_by_the_operator(things: list[Thing]) -> None:
    (monitor,) = of_kind(render(OPERATOR), "PodMonitor").values()
    selector = monitor["spec"]["selector"]
    (expression,) = selector["matchExpressions"]
    ports = {endpoint["port"] for endpoint in monitor["spec"]["podMetricsEndpoints"]}
    told = set()
    for labels, pod in pods(things):
        offered = {port["name"] for container in pod["containers"] for port in container.get("ports", [])}
        chosen = selector["matchLabels"].items() <= labels.items() and component(labels) in expression["values"]
        assert chosen == bool(offered)
        assert len(offered & ports) == len(offered)
        told |= {component(labels)} if chosen else set()
    assert told == {"reader", "applier", "reconciler"}


def test_the_operator_s_rules_and_dashboards_are_those_of_prometheus_and_grafana() -> None:
    watching = render(OPERATOR)
    (rule,) = of_kind(watching, "PrometheusRule").values()
    groups = [group for file in alerts.FILES for group in yaml.safe_load((alerts.RULES / file).read_text())["groups"]]
    assert rule["spec"]["groups"] == groups
    maps = of_kind(watching, "ConfigMap")
    assert {thing["metadata"]["labels"]["grafana_dashboard"] for thing in maps.values()} == {"1"}
    shown = {name: text for thing in maps.values() for name, text in thing["data"].items()}
    assert shown == {f"leadstream-{file.name}": file.read_text() for file in dashboards.FOLDER.iterdir()}


def _selected(selector: Thing) -> set[str]:
    if "matchLabels" in selector:
        return {selector["matchLabels"]["app.kubernetes.io/component"]}
    if "matchExpressions" in selector:
        (expression,) = selector["matchExpressions"]
        return set(expression["values"])
    return set(COMPONENTS)
