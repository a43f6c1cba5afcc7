from typing import Any

from ovnk.lab.controllers.resources import Object, labels_of
from tests.lab.controllers.pretending import Kubectl, bare_pod

Found = dict[str, Any]


def service(name: str, **spec: object) -> Object:
    body = {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": body}


def slices(kubectl: Kubectl, name: str) -> list[Found]:
    return kubectl.items("endpointslices", "-l", f"kubernetes.io/service-name={name}")


def endpoints(kubectl: Kubectl, name: str) -> Found:
    """Conditions by the name of the pod, over all slices."""
    return {
        endpoint["targetRef"]["name"]: endpoint["conditions"]
        for found in slices(kubectl, name)
        for endpoint in found.get("endpoints") or ()
    }


READY = {"ready": True, "serving": True, "terminating": False}


def test_a_service_without_pods_has_an_empty_slice_and_then_its_pods(kubectl: Kubectl) -> None:
    kubectl.apply(service("web"))
    (empty,) = kubectl.until(lambda: slices(kubectl, "web"), "a slice")
    assert not empty.get("endpoints")
    assert empty["metadata"]["ownerReferences"][0]["name"] == "web"

    kubectl.apply(bare_pod("web-a", "web", nodeName="n1"), bare_pod("web-b", "web", nodeName="n2"))
    kubectl.until(lambda: list(endpoints(kubectl, "web").values()) == [READY, READY], "two endpoints")
    (found,) = slices(kubectl, "web")
    assert found["addressType"] == "IPv4"
    assert [(port["name"], port["port"], port["protocol"]) for port in found["ports"]] == [("http", 8080, "TCP")]
    at = {endpoint["nodeName"]: endpoint["zone"] for endpoint in found["endpoints"]}
    assert at == {"n1": "zone-0", "n2": "zone-1"}

    kubectl.run("delete", "service", "web")
    kubectl.until(lambda: not slices(kubectl, "web"), "the end of the slice")


def test_a_terminating_pod_serves_but_is_not_ready_until_it_is_gone(kubectl: Kubectl) -> None:
    kubectl.apply(service("web"), service("all", publishNotReadyAddresses=True))
    kubectl.apply(bare_pod("web-a", "web", {"test/lingers": "true"}, terminationGracePeriodSeconds=30))
    kubectl.until(lambda: endpoints(kubectl, "web").get("web-a") == READY, "the endpoint")
    kubectl.run("delete", "pod", "web-a", "--wait=false")
    going = {"ready": False, "serving": True, "terminating": True}
    kubectl.until(lambda: endpoints(kubectl, "web").get("web-a") == going, "the terminating endpoint")
    kubectl.until(lambda: endpoints(kubectl, "all").get("web-a") == {**going, "ready": True}, "the published one")
    kubectl.run("annotate", "pod", "web-a", "test/lingers-")
    kubectl.until(lambda: not endpoints(kubectl, "web"), "the end of the endpoint")


def test_a_pod_that_is_not_ready_is_listed_as_such(kubectl: Kubectl) -> None:
    kubectl.apply(service("web"), bare_pod("web-a", "web", {"test/ready": "false"}))
    kubectl.until(lambda: endpoints(kubectl, "web").get("web-a", {}).get("ready") is False, "the endpoint")
    kubectl.run("annotate", "pod", "web-a", "--overwrite", "test/ready=true")
    kubectl.until(lambda: endpoints(kubectl, "web")["web-a"] == READY, "readiness")


def test_a_named_port_with_two_numbers_makes_two_slices(kubectl: Kubectl) -> None:
    other = [{"name": "main", "image": "none", "ports": [{"name": "http", "containerPort": 9090}]}]
    kubectl.apply(service("web"), bare_pod("web-a", "web"), bare_pod("web-b", "web", containers=other))
    kubectl.until(lambda: len(endpoints(kubectl, "web")) == 2, "two endpoints")
    ports = {found["endpoints"][0]["targetRef"]["name"]: found["ports"][0]["port"] for found in slices(kubectl, "web")}
    assert ports == {"web-a": 8080, "web-b": 9090}


def test_a_headless_dual_stack_service_has_a_slice_a_family_and_host_names(kubectl: Kubectl) -> None:
    kubectl.apply(
        service("db", clusterIP="None", ipFamilyPolicy="PreferDualStack", publishNotReadyAddresses=True),
        bare_pod("db-0", "web", hostname="db-0", subdomain="db"),
    )
    kubectl.until(lambda: sum(len(found.get("endpoints") or ()) for found in slices(kubectl, "db")) == 2, "both")
    by_family = {found["addressType"]: found for found in slices(kubectl, "db")}
    assert by_family.keys() == {"IPv4", "IPv6"}
    assert all(found["endpoints"][0]["hostname"] == "db-0" for found in by_family.values())
    assert "service.kubernetes.io/headless" in labels_of(by_family["IPv6"])
    assert ":" in by_family["IPv6"]["endpoints"][0]["addresses"][0]
