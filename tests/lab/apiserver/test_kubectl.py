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


DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s}
spec:
  replicas: 2
  selector: {matchLabels: {app: %s}}
  template:
    metadata: {labels: {app: %s}}
    spec: {containers: [{name: web, image: "nginx:1", env: [{name: A, value: "1"}]}]}
"""


def deployment(name: str) -> str:
    return DEPLOYMENT % (name, name, name)


def test_server_side_apply_says_who_owns_what_it_would_change(server: Running) -> None:
    server.kubectl("apply", "--server-side", "-f", "-", stdin=deployment("owned"))
    server.kubectl("scale", "deployment", "owned", "--replicas=5")
    refused = server.kubectl("apply", "--server-side", "-f", "-", stdin=deployment("owned"), check=False)
    assert refused.returncode != 0
    assert 'conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas' in refused.stderr
    server.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=deployment("owned"))
    assert server.kubectl("get", "deploy", "owned", "-o", "jsonpath={.spec.replicas}").stdout == "2"
    shown = server.kubectl("get", "deploy", "owned", "--show-managed-fields", "-o", "json").stdout
    assert [one["manager"] for one in json.loads(shown)["metadata"]["managedFields"]] == ["kubectl"]


def test_client_side_apply_then_server_side_apply_moves_ownership(server: Running) -> None:
    server.kubectl("apply", "-f", "-", stdin=deployment("moved"))
    server.kubectl("apply", "--server-side", "-f", "-", stdin=deployment("moved"))
    changed = deployment("moved").replace("replicas: 2", "replicas: 4")
    server.kubectl("apply", "--server-side", "-f", "-", stdin=changed)
    assert server.kubectl("get", "deploy", "moved", "-o", "jsonpath={.spec.replicas}").stdout == "4"


def test_diff_shows_what_apply_would_change_and_changes_nothing(server: Running) -> None:
    server.kubectl("apply", "-f", "-", stdin=deployment("differs"))
    changed = deployment("differs").replace("replicas: 2", "replicas: 3")
    for flags in ((), ("--server-side", "--force-conflicts")):
        shown = server.kubectl("diff", *flags, "-f", "-", stdin=changed, check=False)
        assert shown.returncode == 1
        assert "-  replicas: 2" in shown.stdout
        assert "+  replicas: 3" in shown.stdout
    assert server.kubectl("get", "deploy", "differs", "-o", "jsonpath={.spec.replicas}").stdout == "2"


@pytest.mark.parametrize(
    ("flags", "patch"),
    [
        (("--type=json",), '[{"op":"replace","path":"/spec/replicas","value":7}]'),
        (("--type=merge",), '{"spec":{"replicas":7}}'),
        (
            ("--type=strategic",),
            '{"spec":{"replicas":7,"template":{"spec":{"containers":[{"name":"web","tty":true}]}}}}',
        ),
    ],
)
def test_every_type_of_patch_is_taken(server: Running, flags: tuple[str, ...], patch: str) -> None:
    name = f"patched-{flags[0].removeprefix('--type=')}"
    server.kubectl("create", "-f", "-", stdin=deployment(name))
    server.kubectl("patch", "deploy", name, *flags, "-p", patch)
    found = json.loads(server.kubectl("get", "deploy", name, "-o", "json").stdout)
    assert found["spec"]["replicas"] == 7
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == "nginx:1"


def test_replace_edit_set_and_rollout_go_through(server: Running) -> None:
    server.kubectl("create", "-f", "-", stdin=deployment("changed"))
    server.kubectl("replace", "-f", "-", stdin=deployment("changed").replace("nginx:1", "nginx:2"))
    server.kubectl("set", "image", "deploy/changed", "web=nginx:3")
    editor = "sed -i s/nginx:3/nginx:4/"
    server.kubectl("edit", "deploy", "changed", env={"EDITOR": editor, "KUBE_EDITOR": editor})
    server.kubectl("rollout", "restart", "deploy/changed")
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    assert server.kubectl("get", "deploy", "changed", "-o", image).stdout == "nginx:4"
    generation = int(server.kubectl("get", "deploy", "changed", "-o", "jsonpath={.metadata.generation}").stdout)
    status = {"observedGeneration": generation, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
    body = json.dumps({"status": status})
    server.kubectl("patch", "deploy", "changed", "--subresource=status", "--type=merge", "-p", body)
    assert "successfully rolled out" in server.kubectl("rollout", "status", "deploy/changed", "--timeout=5s").stdout
    server.kubectl("wait", "--for=jsonpath={.status.replicas}=2", "deploy/changed", "--timeout=5s")
    assert server.kubectl("get", "deploy", "changed").stdout.split()[5:9] == ["changed", "0/2", "2", "2"]


def test_typed_commands_send_protobuf_and_are_understood(server: Running) -> None:
    server.kubectl("create", "namespace", "typed")
    flags = ("-n", "typed")
    server.kubectl("create", "deployment", "d", "--image=nginx", "--replicas=0", "--port=80", *flags)
    server.kubectl("create", "configmap", "c", "--from-literal=a=b", *flags)
    server.kubectl("create", "secret", "generic", "s", "--from-literal=a=b", *flags)
    server.kubectl("create", "service", "nodeport", "n", "--tcp=80:8080", *flags)
    server.kubectl("create", "serviceaccount", "sa", *flags)
    server.kubectl("create", "role", "r", "--verb=get", "--resource=pods", *flags)
    server.kubectl("create", "pdb", "p", "--selector=a=b", "--min-available=1", *flags)
    server.kubectl("create", "job", "j", "--image=x", *flags, "--", "sleep", "1")
    server.kubectl("expose", "deployment", "d", "--port=80", *flags)
    server.kubectl("autoscale", "deployment", "d", "--max=3", *flags)
    made = json.loads(server.kubectl("get", "deploy", "d", "-o", "json", *flags).stdout)
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    assert server.kubectl("get", "deploy", "d", "-o", "jsonpath={.spec.replicas}", *flags).stdout == "0"
    assert server.kubectl("get", "secret", "s", "-o", "jsonpath={.data.a}", *flags).stdout == "Yg=="
    assert server.kubectl("get", "svc", "n", "-o", "jsonpath={.spec.ports[0].targetPort}", *flags).stdout == "8080"
    assert server.kubectl("get", "pdb", "p", "-o", "jsonpath={.spec.minAvailable}", *flags).stdout == "1"
    assert server.kubectl("auth", "can-i", "create", "pods").stdout == "yes\n"
    assert "kubernetes-admin" in server.kubectl("auth", "whoami").stdout
    server.kubectl("delete", "namespace", "typed", "--timeout=20s")
    assert "NotFound" in server.kubectl("get", "ns", "typed", check=False).stderr


def test_describe_version_resources_cluster_info_and_explain_work(server: Running) -> None:
    server.kubectl("create", "-f", "-", stdin=POD % "told")
    uid = server.kubectl("get", "pod", "told", "-o", "jsonpath={.metadata.uid}").stdout
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "told.1"},
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": "told", "namespace": "default", "uid": uid},
        "reason": "Happened",
        "message": "something did",
        "type": "Warning",
    }
    server.kubectl("create", "-f", "-", stdin=json.dumps(event))
    described = server.kubectl("describe", "pod", "told").stdout
    assert "something did" in described
    assert "Service Account:  default" in described
    assert "Happened" in server.kubectl("events", "--for", "pod/told").stdout
    assert "v1.37" in server.kubectl("version").stdout
    assert "networkpolicies" in server.kubectl("api-resources", "--namespaced=true").stdout
    assert "discovery.k8s.io/v1" in server.kubectl("api-versions").stdout
    assert "is running at" in server.kubectl("cluster-info").stdout
    assert "nodeName <string>" in server.kubectl("explain", "pod.spec.nodeName").stdout
    assert "ipBlock" in server.kubectl("explain", "networkpolicy.spec.ingress.from").stdout


def test_delete_waits_for_finalizers_and_wait_sees_the_end(server: Running) -> None:
    held = """
apiVersion: v1
kind: ConfigMap
metadata: {name: held, finalizers: [example.com/hold]}
"""
    server.kubectl("create", "-f", "-", stdin=held)
    server.kubectl("delete", "configmap", "held", "--wait=false")
    late = server.kubectl("wait", "--for=delete", "configmap/held", "--timeout=1s", check=False)
    assert "timed out" in late.stderr
    server.kubectl("patch", "configmap", "held", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    server.kubectl("wait", "--for=delete", "configmap/held", "--timeout=5s")


def test_get_watches_and_pages_and_sorts(server: Running) -> None:
    for name in ("g1", "g2", "g3"):
        server.kubectl("create", "-f", "-", stdin=(POD % name).replace("app: web", "app: got"))
    listed = server.kubectl("get", "pods", "-l", "app=got", "--chunk-size=1", "--sort-by=.metadata.name", "-o", "name")
    assert listed.stdout.split() == ["pod/g1", "pod/g2", "pod/g3"]
    chosen = server.kubectl("get", "pods", "-A", "--field-selector", "metadata.name=g2", "--no-headers").stdout.split()
    assert chosen[:2] == ["default", "g2"]
    with server.kubectl_running("get", "pods", "-l", "app=got", "-w", "--output-watch-events", "--no-headers") as watch:
        assert watch.stdout is not None
        assert sorted(watch.stdout.readline().split()[1] for _ in range(3)) == ["g1", "g2", "g3"]
        server.kubectl("delete", "pod", "g2")
        assert watch.stdout.readline().split()[:2] == ["DELETED", "g2"]


@pytest.mark.parametrize(
    ("kind", "rest", "message"),
    [
        ("ConfigMap", "metadata: {name: x}, dta: {}", 'strict decoding error: unknown field "dta"'),
        ("ConfigMap", "metadata: {name: X}", "a lowercase RFC 1123 subdomain must consist of"),
        ("Thing", "metadata: {name: x}", 'no matches for kind "Thing" in version "v1"'),
        ("ConfigMap", "metadata: {name: x, namespace: absent}", 'namespaces "absent" not found'),
        ("Pod", "metadata: {name: x}, spec: {containers: []}", "spec.containers: Required value"),
        ("Pod", "metadata: {name: x}, spec: {containers: 5}", "cannot unmarshal number into Go struct"),
        ("Service", "metadata: {name: x}, spec: {ports: [{port: 0}]}", "must be between 1 and 65535"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_printed_as_kubernetes_says_it(
    server: Running, kind: str, rest: str, message: str
) -> None:
    refused = server.kubectl("create", "-f", "-", stdin=f"{{apiVersion: v1, kind: {kind}, {rest}}}", check=False)
    assert refused.returncode != 0
    assert message in refused.stderr


def test_nodes_are_cordoned_tainted_and_drained(server: Running) -> None:
    server.kubectl("create", "-f", "-", stdin="{apiVersion: v1, kind: Node, metadata: {name: n1}}")
    server.kubectl("taint", "node", "n1", "a=b:NoSchedule")
    server.kubectl("create", "-f", "-", stdin=(POD % "driven").replace("spec:", "spec:\n  nodeName: n1"))
    server.kubectl("drain", "n1", "--force", "--grace-period=0", "--timeout=10s")
    assert server.kubectl("get", "node", "n1").stdout.split()[6] == "Unknown,SchedulingDisabled"
    server.kubectl("uncordon", "n1")
    assert "NotFound" in server.kubectl("get", "pod", "driven", check=False).stderr
