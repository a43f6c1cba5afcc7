from ovnk.lab.controllers.resources import annotations_of, name_of
from tests.lab.controllers.pretending import Kubectl, template, workload


def test_a_deployment_becomes_available_and_rolls_to_a_new_template(kubectl: Kubectl) -> None:
    kubectl.apply(workload("Deployment", "web", template("web"), replicas=3))
    kubectl.wait("deployment/web", "condition=Available")
    kubectl.rollout("deployment/web")
    before = {name_of(pod) for pod in kubectl.items("pods")}
    assert len(before) == 3

    kubectl.run("set", "image", "deployment/web", "main=other")
    kubectl.rollout("deployment/web")
    after = kubectl.items("pods")
    assert {pod["spec"]["containers"][0]["image"] for pod in after} == {"other"}
    assert before.isdisjoint(name_of(pod) for pod in after)
    sizes = {
        annotations_of(rs)["deployment.kubernetes.io/revision"]: rs["spec"]["replicas"]
        for rs in kubectl.items("replicasets")
    }
    assert sizes == {"1": 0, "2": 3}


def test_an_undone_rollout_takes_the_former_replica_set_again(kubectl: Kubectl) -> None:
    kubectl.apply(workload("Deployment", "web", template("web"), replicas=2))
    kubectl.rollout("deployment/web")
    kubectl.run("set", "image", "deployment/web", "main=other")
    kubectl.rollout("deployment/web")
    kubectl.run("rollout", "undo", "deployment/web")
    kubectl.rollout("deployment/web")
    sizes = {
        annotations_of(rs)["deployment.kubernetes.io/revision"]: rs["spec"]["replicas"]
        for rs in kubectl.items("replicasets")
    }
    assert sizes == {"2": 0, "3": 2}
