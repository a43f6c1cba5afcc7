from ovnk.lab.controllers.resources import controller_of, name_of
from tests.lab.controllers.pretending import Kubectl, bare_pod, template, workload


def test_a_deleted_deployment_takes_its_replica_sets_and_pods_along(kubectl: Kubectl) -> None:
    kubectl.apply(workload("Deployment", "web", template("web"), replicas=2))
    kubectl.rollout("deployment/web")
    kubectl.run("delete", "deployment", "web")
    kubectl.until(lambda: not kubectl.items("pods,replicasets"), "the end of the pods")


def test_in_the_foreground_the_owner_goes_last(kubectl: Kubectl) -> None:
    kubectl.apply(workload("Deployment", "web", template("web"), replicas=2))
    kubectl.rollout("deployment/web")
    kubectl.run("delete", "deployment", "web", "--cascade=foreground")
    assert not kubectl.items("pods,replicasets")


def test_orphans_stay_and_are_adopted_again(kubectl: Kubectl) -> None:
    deployment = workload("Deployment", "web", template("web"), replicas=2)
    kubectl.apply(deployment)
    kubectl.rollout("deployment/web")
    before = {name_of(pod) for pod in kubectl.items("pods")}
    kubectl.run("delete", "deployment", "web", "--cascade=orphan")
    assert [controller_of(found) for found in kubectl.items("replicasets")] == [None]
    kubectl.apply(deployment)
    kubectl.rollout("deployment/web")
    assert {name_of(pod) for pod in kubectl.items("pods")} == before


def test_a_pod_relabelled_is_let_go_and_replaced(kubectl: Kubectl) -> None:
    kubectl.apply(workload("Deployment", "web", template("web"), replicas=2))
    kubectl.rollout("deployment/web")
    taken = name_of(kubectl.items("pods")[0])
    kubectl.run("label", "pod", taken, "app=debug", "--overwrite")
    kubectl.until(lambda: len(kubectl.items("pods", "-l", "app=web")) == 2, "a replacement")
    assert controller_of(kubectl.get("pod", taken)) is None


def test_a_deleted_namespace_is_emptied(kubectl: Kubectl) -> None:
    kubectl.apply(workload("Deployment", "web", template("web"), replicas=2), bare_pod("alone"))
    kubectl.rollout("deployment/web")
    name = f"{kubectl.namespace}-more"
    kubectl.run("create", "namespace", name)
    kubectl.run("create", "configmap", "settings", "-n", name)
    kubectl.run("wait", "serviceaccount/default", "-n", name, "--for=create", "--timeout=60s")
    kubectl.run("delete", "namespace", name, "--timeout=60s")
