from ovnk.lab.controllers.resources import Object, labels_of, name_of
from tests.lab.controllers.pretending import Kubectl, bare_pod, template, workload


def stateful_set(**spec: object) -> Object:
    return workload("StatefulSet", "db", template("db"), serviceName="db", **spec)


def test_pods_are_made_one_after_the_other_and_keep_their_names(kubectl: Kubectl) -> None:
    kubectl.apply(stateful_set(replicas=3))
    kubectl.rollout("statefulset/db")
    pods = kubectl.items("pods")
    assert [name_of(pod) for pod in pods] == ["db-0", "db-1", "db-2"]
    made = [int(pod["metadata"]["resourceVersion"]) for pod in pods]
    assert made == sorted(made), "each was Ready, its last change, before the next one was made"
    assert [(pod["spec"]["hostname"], pod["spec"]["subdomain"]) for pod in pods][1] == ("db-1", "db")
    assert labels_of(pods[2])["statefulset.kubernetes.io/pod-name"] == "db-2"

    kubectl.run("delete", "pod", "db-1", "--wait=true")
    kubectl.until(lambda: "db-1" in map(name_of, kubectl.items("pods")), "a new db-1")
    kubectl.rollout("statefulset/db")


def test_a_pod_that_is_not_ready_holds_up_the_next_one(kubectl: Kubectl) -> None:
    kubectl.apply(workload("StatefulSet", "db", template("db", {"test/ready": "false"}), serviceName="db", replicas=2))
    kubectl.wait("statefulset/db", "jsonpath={.status.replicas}=1")
    kubectl.wait("pod/db-0", "jsonpath={.status.phase}=Running")
    assert [name_of(pod) for pod in kubectl.items("pods")] == ["db-0"]
    kubectl.run("annotate", "pod", "db-0", "--overwrite", "test/ready=true")
    kubectl.wait("statefulset/db", "jsonpath={.status.replicas}=2")


def test_the_parallel_policy_does_not_wait(kubectl: Kubectl) -> None:
    pod = template("db", {"test/ready": "false"})
    kubectl.apply(
        workload("StatefulSet", "db", pod, serviceName="db", replicas=3, podManagementPolicy="Parallel"),
    )
    kubectl.wait("statefulset/db", "jsonpath={.status.replicas}=3")


def test_an_update_goes_from_the_last_to_the_partition_and_scaling_down_takes_the_last(kubectl: Kubectl) -> None:
    partition = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    kubectl.apply(stateful_set(replicas=3, updateStrategy=partition))
    kubectl.rollout("statefulset/db")
    kubectl.run("set", "image", "statefulset/db", "main=other")
    kubectl.rollout("statefulset/db")
    images = {name_of(pod): pod["spec"]["containers"][0]["image"] for pod in kubectl.items("pods")}
    assert images == {"db-0": "none", "db-1": "other", "db-2": "other"}

    kubectl.run("delete", "pod", "db-0", "--wait=true")
    kubectl.until(lambda: "db-0" in map(name_of, kubectl.items("pods")), "a new db-0")
    assert kubectl.get("pod", "db-0")["spec"]["containers"][0]["image"] == "none", "below the partition: as it was"

    kubectl.run("scale", "statefulset/db", "--replicas=1")
    kubectl.wait("pod/db-1", "delete")
    assert [name_of(pod) for pod in kubectl.items("pods")] == ["db-0"]


def test_a_pod_that_is_in_the_way_of_a_name_is_not_touched(kubectl: Kubectl) -> None:
    kubectl.apply(bare_pod("db-0", "stranger"))
    kubectl.apply(stateful_set(replicas=1))
    kubectl.wait("pod/db-0", "condition=Ready")
    assert labels_of(kubectl.get("pod", "db-0"))["app"] == "stranger"
    kubectl.run("delete", "pod", "db-0")
    kubectl.rollout("statefulset/db")
