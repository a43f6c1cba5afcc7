import json

from ovnk.lab.controllers.pods import node_of
from tests.lab.controllers.pretending import Kubectl, template, workload


def test_one_pod_on_each_node_that_may_have_it(kubectl: Kubectl) -> None:
    kubectl.apply(workload("DaemonSet", "agent", template("agent")))
    kubectl.rollout("daemonset/agent")
    assert sorted(map(node_of, kubectl.items("pods"))) == ["n1", "n2", "n3"]

    selected = {"template": {"spec": {"nodeSelector": {"topology.kubernetes.io/zone": "zone-1"}}}}
    kubectl.run("patch", "daemonset", "agent", "-p", json.dumps({"spec": selected}))
    kubectl.rollout("daemonset/agent")
    kubectl.until(lambda: list(map(node_of, kubectl.items("pods"))) == ["n2"], "one pod, on n2")


def test_a_cordoned_node_has_its_daemons_all_the_same(kubectl: Kubectl) -> None:
    kubectl.run("cordon", "n3")
    try:
        kubectl.apply(workload("DaemonSet", "agent", template("agent")))
        kubectl.rollout("daemonset/agent")
        assert sorted(map(node_of, kubectl.items("pods"))) == ["n1", "n2", "n3"]
    finally:
        kubectl.run("uncordon", "n3")


def test_an_update_replaces_one_node_at_a_time(kubectl: Kubectl) -> None:
    kubectl.apply(workload("DaemonSet", "agent", template("agent")))
    kubectl.rollout("daemonset/agent")
    kubectl.run("set", "image", "daemonset/agent", "main=other")
    kubectl.rollout("daemonset/agent")
    kubectl.until(lambda: len(kubectl.items("pods")) == 3, "three pods")
    assert {pod["spec"]["containers"][0]["image"] for pod in kubectl.items("pods")} == {"other"}
