"""Two hundred pods at once: every one with addresses of its own, whatever becomes of the controller meanwhile."""

import ipaddress
import signal
from collections.abc import Callable

import pytest

from tests.labs import Lab
from tests.system import northbound, probes, workloads

pytestmark = pytest.mark.system

PODS = 200


def nothing(_lab: Lab, _space: str) -> None:
    pass


def kill_the_controller_in_mid_run(lab: Lab, space: str) -> None:
    """kill -9 as soon as the first pods have ports, and again as soon as the first are Ready."""
    for some in (having_ports, ready):
        lab.wait_until(lambda some=some: some(lab, space) > 0, f"some pods {some.__name__}")
        lab.restart("controller", signal.SIGKILL)


def having_ports(lab: Lab, space: str) -> int:
    """How many pods of the namespace have a Logical_Switch_Port."""
    return sum(name.startswith(f"{space}/") for _, name in northbound.uuids(lab))


def ready(lab: Lab, space: str) -> int:
    """How many pods of the namespace are Ready."""
    status = lab.get("deployment", "many", f"--namespace={space}")["status"]
    return int(status.get("readyReplicas", 0))


@pytest.mark.parametrize("meanwhile", [nothing, kill_the_controller_in_mid_run], ids=lambda one: one.__name__)
def test_r07_200_pods_at_once_have_200_addresses_of_each_family(
    dual_stack: Lab, space: str, meanwhile: Callable[[Lab, str], None]
) -> None:
    before = {address for pod in dual_stack.pods().values() for address in own_addresses(pod)}

    dual_stack.apply(workloads.deployment("many", PODS, space))
    meanwhile(dual_stack, space)
    dual_stack.kubectl("rollout", "status", "deployment/many", f"--namespace={space}", "--timeout=60s")

    pods = dual_stack.pods("app=many")
    assert len(pods) == PODS
    assert {pod["spec"]["nodeName"] for pod in pods.values()} == set(dual_stack.nodes)
    subnets = {
        network["metadata"]["name"]: [ipaddress.ip_network(subnet["cidr"]) for subnet in network["spec"]["subnets"]]
        for network in dual_stack.get("nodenetworks")["items"]
    }
    for version in (4, 6):
        addresses = [workloads.of_family(pod, version) for pod in pods.values()]
        assert len(set(addresses)) == PODS
        assert not before & set(addresses)
        for pod, address in zip(pods.values(), map(ipaddress.ip_address, addresses), strict=True):
            (subnet,) = [one for one in subnets[pod["spec"]["nodeName"]] if one.version == version]
            # network, router and management port come first, broadcast last
            assert subnet[2] < address < subnet[-1], f"{address} of {pod['metadata']['name']}"
    kernel = {name: configured(dual_stack, name) for name in list(pods)[:: PODS // 10]}
    assert kernel == {name: set(workloads.addresses(pods[name])) for name in kernel}
    some = {name: workloads.addresses(pods[name]) for name in list(pods)[:: PODS // 20]}
    assert not probes.failed(probes.ask(dual_stack, ["node/n1", next(iter(some))], some))


def configured(lab: Lab, pod: str) -> set[str]:
    """The addresses that the kernel has on the pod's eth0."""
    lines = lab.exec(pod, "ip", "-brief", "address", "show", "eth0", "scope", "global").stdout.split()[2:]
    return {text.partition("/")[0] for text in lines}


def own_addresses(pod: workloads.Object) -> list[str]:
    if pod["spec"].get("hostNetwork"):
        return []
    return [entry["ip"] for entry in pod["status"].get("podIPs", ())]
