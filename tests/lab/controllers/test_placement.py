from collections.abc import Mapping, Sequence
from typing import Any

from ovnk.lab.controllers import placement
from ovnk.lab.controllers.placement import Nodes, place
from ovnk.lab.controllers.resources import Object, name_of


def node(name: str, labels: Mapping[str, str] | None = None, **spec: Any) -> Object:
    return {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}}, "spec": spec}


def pod(app: str = "web", namespace: str = "shop", **spec: Any) -> Object:
    metadata = {"name": app, "namespace": namespace, "labels": {"app": app}}
    return {"metadata": metadata, "spec": {"containers": [], **spec}}


def cluster(*nodes: Object, bound: Mapping[str, Sequence[Object]] | None = None) -> Nodes:
    placed = {
        name: [{**found, "spec": {**found["spec"], "nodeName": name}} for found in pods]
        for name, pods in (bound or {}).items()
    }
    guarded = [found for pods in placed.values() for found in pods if placement.guards(found)]
    return Nodes({name_of(value): value for value in nodes}, placed, guarded, {"shop": {"team": "shop"}})


def apart(app: str, **term: Any) -> Object:
    entry = {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": "kubernetes.io/hostname", **term}
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [entry]}}


def test_the_node_with_the_fewest_of_the_same_kind_wins_then_the_emptier_one() -> None:
    nodes = [node("n1"), node("n2"), node("n3")]
    bound = {"n1": [pod("web")], "n2": [pod("other"), pod("other")], "n3": [pod("other")]}
    assert place(pod("web"), cluster(*nodes, bound=bound)) == ("n3", "")


def test_taints_keep_away_who_does_not_tolerate_them() -> None:
    taint = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}
    nodes = cluster(node("n1", taints=[taint]), node("n2", unschedulable=True))
    assert place(pod(), nodes) == (
        "",
        "0/2 nodes are available: 1 node(s) had untolerated taint {gpu: yes}, 1 node(s) were unschedulable.",
    )
    assert place(pod(tolerations=[{"key": "gpu", "value": "yes"}]), nodes)[0] == "n1"
    assert place(pod(tolerations=[{"key": "gpu", "value": "no"}]), nodes)[0] == ""
    assert place(pod(tolerations=[{"operator": "Exists"}]), nodes)[0] == "n1"


def test_node_affinity_needs_one_whole_term() -> None:
    nodes = cluster(node("n1", {"disk": "slow"}), node("n2", {"disk": "fast", "cores": "16"}))

    def wants(*terms: Object) -> Object:
        required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
        return pod(affinity={"nodeAffinity": required})

    fast = {"key": "disk", "operator": "In", "values": ["fast"]}
    many = {"key": "cores", "operator": "Gt", "values": ["8"]}
    assert place(wants({"matchExpressions": [fast, many]}), nodes)[0] == "n2"
    named = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]}
    assert place(wants({"matchExpressions": [fast], **named}, named), nodes)[0] == "n1"
    assert place(wants({}), nodes)[0] == "", "a term that asks for nothing matches nothing"
    assert place(pod(nodeSelector={"disk": "none"}), nodes)[1].endswith("node affinity/selector.")


def test_a_host_port_is_there_once_a_node_and_address() -> None:
    def on(port: int, **more: str) -> Object:
        return pod(containers=[{"ports": [{"hostPort": port, **more}]}])

    nodes = cluster(node("n1"), bound={"n1": [on(80, hostIP="10.0.0.1")]})
    assert place(on(80, hostIP="10.0.0.2"), nodes)[0] == "n1"
    assert place(on(80, protocol="UDP"), nodes)[0] == "n1"
    assert "free ports" in place(on(80), nodes)[1], "all addresses include that one"


def test_anti_affinity_holds_in_both_directions_and_within_its_namespaces() -> None:
    guard = pod("guard", affinity=apart("web"))
    nodes = cluster(node("n1"), bound={"n1": [guard]})
    assert "existing pods anti-affinity" in place(pod("web"), nodes)[1]
    assert place(pod("web", namespace="elsewhere"), nodes)[0] == "n1"
    assert "match pod anti-affinity" in place(pod("a", affinity=apart("guard")), nodes)[1]
    assert place(pod("a", namespace="elsewhere", affinity=apart("guard")), nodes)[0] == "n1"
    everywhere = apart("guard", namespaceSelector={"matchLabels": {"team": "shop"}})
    assert place(pod("a", namespace="elsewhere", affinity=everywhere), nodes)[0] == ""


def test_affinity_needs_company_but_for_the_first_of_its_kind() -> None:
    term = {"labelSelector": {"matchLabels": {"app": "web"}}, "topologyKey": "zone"}
    together = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    zones = [node("n1", {"zone": "a"}), node("n2", {"zone": "b"}), node("n3", {"zone": "b"})]
    assert place(pod("web", affinity=together), cluster(*zones))[0] == "n1"
    assert place(pod("other", affinity=together), cluster(*zones))[0] == ""
    assert place(pod("other", affinity=together), cluster(*zones, bound={"n2": [pod("web")]}))[0] == "n3"


def test_topology_spread_counts_domains_not_nodes() -> None:
    spread = [{"maxSkew": 1, "topologyKey": "zone", "labelSelector": {"matchLabels": {"app": "web"}}}]
    nodes = [node("n1", {"zone": "a"}), node("n2", {"zone": "a"}), node("n3", {"zone": "b"}), node("n4")]
    web = pod("web", topologySpreadConstraints=spread)
    assert place(web, cluster(*nodes, bound={"n1": [pod("web")], "n3": [pod("other")] * 5}))[0] == "n3"
