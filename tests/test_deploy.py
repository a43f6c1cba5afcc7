"""deploy/*.yaml agree with the programs: what the accounts may do, and the flags that the daemons are started with."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from ovnk import contract
from ovnk.cli import controller, node
from ovnk.kube import decode
from ovnk.settings import ControllerSettings

DEPLOY = Path(__file__).parents[1] / "deploy"
SETTINGS = {"controller": ControllerSettings, "node": node.NodeSettings}
READING = {"get", "list", "watch"}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text()))


def allowed(account: str) -> set[tuple[str, str, str]]:
    """(API group, resource, verb) of the account's ClusterRole."""
    (role,) = (
        one for one in documents("rbac.yaml") if (one["kind"], one["metadata"]["name"]) == ("ClusterRole", account)
    )
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("kind", [*decode.KINDS, *decode.OPTIONAL_KINDS])
def test_the_controller_may_read_every_kind_that_it_compiles(kind: str) -> None:
    resource, _ = (decode.KINDS | decode.OPTIONAL_KINDS)[kind]
    root, *middle, plural = resource.path.strip("/").split("/")
    group = middle[0] if root == "apis" else ""
    assert {verb for *where, verb in allowed("ovnk-controller") if where == [group, plural]} >= READING


def test_the_controller_writes_no_more_of_services_and_pools_than_their_status() -> None:
    verbs = allowed("ovnk-controller")
    for resource in ("services", "addresspools"):
        assert {verb for _, name, verb in verbs if name == resource} == READING
        assert {verb for _, name, verb in verbs if name == f"{resource}/status"} == {"patch"}


def test_node_agents_may_read_what_their_rules_follow_from_and_no_pods() -> None:
    verbs = allowed("ovnk-node")
    assert {name for _, name, verb in verbs if verb in READING} == {
        contract.PLURAL,
        "services",
        "endpointslices",
        "nodes",
    }
    assert {(name, verb) for _, name, verb in verbs if verb not in READING} == {("events", "create")}


def test_bindings_name_roles_and_accounts_that_are_there() -> None:
    found = documents("rbac.yaml")
    there = {(one["kind"], one["metadata"]["name"]) for one in found}
    for binding in found:
        if binding["kind"].endswith("Binding"):
            assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) in there
            assert all((one["kind"], one["name"]) in there for one in binding["subjects"])


@pytest.mark.parametrize(("name", "command"), [("controller", controller.command), ("node", node.command)])
def test_daemons_are_started_with_flags_that_they_have(name: str, command: Callable[..., None]) -> None:
    (workload,) = documents(f"{name}.yaml")
    containers = workload["spec"]["template"]["spec"]["containers"]
    (arguments,) = (one["args"] for one in containers if one.get("args", [""])[0] == name)
    flags = {argument.partition("=")[0] for argument in arguments[1:]}
    assert flags <= {f"--{parameter.replace('_', '-')}" for parameter in inspect.signature(command).parameters}


@pytest.mark.parametrize("name", ["controller", "node"])
def test_daemons_leave_the_ports_of_kubernetes_own_components_alone(name: str) -> None:
    """Those are on every machine of a cluster; kube-controller-manager's is 10257 on each control plane's loopback."""
    (workload,) = documents(f"{name}.yaml")
    containers = workload["spec"]["template"]["spec"]["containers"]
    (one,) = (one for one in containers if one.get("args", [""])[0] == name)
    (address,) = (flag.partition("=")[2] for flag in one["args"] if flag.startswith("--http-address="))
    assert address in [
        field.default for field in msgspec.structs.fields(SETTINGS[name]) if field.name == "http_address"
    ]
    port = int(address.rpartition(":")[2])
    assert port not in range(10248, 10261)
    assert {one[probe]["httpGet"]["port"] for probe in ("readinessProbe", "livenessProbe") if probe in one} == {port}


def test_controllers_are_never_two_on_one_node() -> None:
    """The second could not listen; nor could one of a new version before an old one is gone."""
    (workload,) = documents("controller.yaml")
    spec = workload["spec"]["template"]["spec"]
    assert spec["hostNetwork"]
    assert [port["containerPort"] for port in spec["containers"][0]["ports"]] == [10266]
    assert workload["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
