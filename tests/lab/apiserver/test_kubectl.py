"""Real kubectl against the embedded API server, over TLS with a token."""

import json
from collections.abc import Iterator

import pytest

from tests.lab.apiserver.running import Running, api_server


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with api_server(tls=True) as running:
        yield running


POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: web}}
spec:
  containers: [{name: web, image: "nginx:1", ports: [{containerPort: 80}]}]
"""


NOMINATED = ["NOMINATED", "NODE", "READINESS", "GATES"]


def test_a_pod_is_created_shown_labelled_patched_and_deleted(server: Running) -> None:
    assert server.kubectl("create", "-f", "-", stdin=POD % "crud").stdout == "pod/crud created\n"
    head, row = server.kubectl("get", "pod", "crud", "-o", "wide").stdout.splitlines()
    assert head.split() == [
        "NAME",
        "READY",
        "STATUS",
        "RESTARTS",
        "AGE",
        "IP",
        "NODE",
        "NOMINATED",
        "NODE",
        "READINESS",
        "GATES",
    ]
    assert row.split()[:4] == ["crud", "0/1", "Pending", "0"]
    server.kubectl("label", "pod", "crud", "tier=front")
    server.kubectl("annotate", "pod", "crud", "note=one")
    server.kubectl("patch", "pod", "crud", "-p", '{"metadata":{"labels":{"patched":"yes"}}}')
    pod = json.loads(server.kubectl("get", "pod", "crud", "-o", "json").stdout)
    assert pod["metadata"]["labels"] == {"app": "web", "tier": "front", "patched": "yes"}
    assert pod["metadata"]["annotations"] == {"note": "one"}
    assert server.kubectl("get", "pods", "-l", "tier in (front)", "-o", "name").stdout == "pod/crud\n"
    server.kubectl("delete", "pod", "crud")
    assert "NotFound" in server.kubectl("get", "pod", "crud", check=False).stderr


def test_apply_creates_configures_and_leaves_alone(server: Running) -> None:
    assert "created" in server.kubectl("apply", "-f", "-", stdin=POD % "applied").stdout
    assert "unchanged" in server.kubectl("apply", "-f", "-", stdin=POD % "applied").stdout
    changed = (POD % "applied").replace("app: web", "app: other")
    assert "configured" in server.kubectl("apply", "-f", "-", stdin=changed).stdout
    done = server.kubectl("apply", "--server-side", "-f", "-", stdin=POD % "served")
    assert done.stdout == "pod/served serverside-applied\n"


WIDGETS = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, kind: Widget, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size}}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [size]
            properties:
              size: {type: integer, minimum: 1}
              colour: {type: string, default: red, enum: [red, green]}
          status: {type: object, properties: {size: {type: integer}}}
"""
WIDGET = """
apiVersion: example.com/v1
kind: Widget
metadata: {name: one}
spec: {size: 3}
"""


def test_a_custom_resource_is_served_validated_defaulted_printed_and_scaled(server: Running) -> None:
    server.kubectl("apply", "-f", "-", stdin=WIDGETS)
    server.kubectl("wait", "--for=condition=Established", "crd/widgets.example.com", "--timeout=10s")
    server.kubectl("apply", "-f", "-", stdin=WIDGET)
    assert server.kubectl("get", "wd").stdout.split()[:4] == ["NAME", "SIZE", "one", "3"]
    assert server.kubectl("get", "wd", "one", "-o", "jsonpath={.spec.colour}").stdout == "red"
    server.kubectl("scale", "widget", "one", "--replicas=5")
    assert server.kubectl("get", "wd", "one", "-o", "jsonpath={.spec.size}").stdout == "5"
    refused = server.kubectl("apply", "-f", "-", stdin=WIDGET.replace("size: 3", "size: 0"), check=False).stderr
    assert "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1" in refused
    server.kubectl("patch", "wd", "one", "--subresource=status", "--type=merge", "-p", '{"status":{"size":2}}')
    assert server.kubectl("get", "wd", "one", "-o", "jsonpath={.status.size}{.metadata.generation}").stdout == "22"
    server.kubectl("delete", "crd", "widgets.example.com")
    assert "NotFound" in server.kubectl("get", "widgets", check=False).stderr
