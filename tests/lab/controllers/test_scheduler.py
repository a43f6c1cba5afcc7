from collections import Counter

from ovnk.lab.controllers.pods import node_of
from tests.lab.controllers.pretending import Kubectl, bare_pod, template, workload

ELSEWHERE = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "kubernetes.io/hostname"}
        ]
    }
}


def test_replicas_are_spread_over_the_nodes(kubectl: Kubectl) -> None:
    kubectl.apply(
        workload(
            "Deployment",
            "web",
            template(
                "web",
                topologySpreadConstraints=[
                    {
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "DoNotSchedule",
                        "labelSelector": {"matchLabels": {"app": "web"}},
                    }
                ],
            ),
            replicas=6,
        )
    )
    kubectl.rollout("deployment/web")
    assert Counter(map(node_of, kubectl.items("pods"))) == {"n1": 2, "n2": 2, "n3": 2}


def test_a_pod_that_no_node_will_have_says_why_and_runs_once_there_is_room(kubectl: Kubectl) -> None:
    kubectl.apply(workload("Deployment", "web", template("web", affinity=ELSEWHERE), replicas=4))
    kubectl.wait("deployment/web", "jsonpath={.status.readyReplicas}=3")

    def refused() -> list[str]:
        return [event["message"] for event in kubectl.items("events") if event["reason"] == "FailedScheduling"]

    (message, *_) = kubectl.until(refused, "the event FailedScheduling")
    assert message.startswith("0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules")
    pending = [pod for pod in kubectl.items("pods") if not node_of(pod)]
    assert [entry["reason"] for entry in pending[0]["status"]["conditions"]] == ["Unschedulable"]

    kubectl.run("scale", "deployment/web", "--replicas=3")
    kubectl.rollout("deployment/web")
    assert Counter(map(node_of, kubectl.items("pods"))) == {"n1": 1, "n2": 1, "n3": 1}


def test_a_pod_waits_for_a_node_with_its_label(kubectl: Kubectl) -> None:
    label = f"{kubectl.namespace}/gpu"
    kubectl.apply(bare_pod("picky", nodeSelector={label: "yes"}))
    kubectl.wait("pod/picky", "condition=PodScheduled=False")
    kubectl.run("label", "node", "n2", f"{label}=yes")
    kubectl.wait("pod/picky", "condition=Ready")
    assert node_of(kubectl.get("pod", "picky")) == "n2"
    kubectl.run("label", "node", "n2", f"{label}-")
