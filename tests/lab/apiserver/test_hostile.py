"""Whatever is sent, the answer is an object or a Status: no body, patch or stored oddity is an internal error."""

import contextlib
import copy
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ovnk.lab.apiserver import kinds, listing, patches, protobuf, schemas, subresources, tables
from ovnk.lab.apiserver.bodies import Write
from ovnk.lab.apiserver.deletion import Delete
from ovnk.lab.apiserver.kinds import Kind
from ovnk.lab.apiserver.selectors import Selector
from ovnk.lab.apiserver.status import StatusError
from tests.lab.apiserver.cluster import Cluster, definition, deployment, pod

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, 1, -1, 80, 65536, 2**40, 1.5]),
    st.sampled_from(
        ["", "a", "web", "None", "10.96.0.5", "fd00::1", "NodePort", "ExternalName", "example.com/x", "Ä", "v1"]
    ),
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "type", "a"]), inner, max_size=2)
    ),
    max_leaves=4,
)

SEEDS: list[tuple[Kind, dict[str, Any]]] = [
    (
        kinds.built_in("pods"),
        {**pod("seed", initContainers=[{"name": "i", "image": "i"}], volumes=[{"name": "v"}], nodeSelector={"a": "b"})},
    ),
    (
        kinds.built_in("services"),
        {
            "metadata": {"name": "seed"},
            "spec": {
                "type": "LoadBalancer",
                "ports": [{"name": "a", "port": 80, "nodePort": 30080, "targetPort": "x"}],
                "selector": {"a": "b"},
                "clusterIP": "10.96.0.9",
                "clusterIPs": ["10.96.0.9"],
                "ipFamilies": ["IPv4"],
                "ipFamilyPolicy": "SingleStack",
                "externalIPs": ["192.0.2.1"],
            },
        },
    ),
    (
        kinds.built_in("deployments", "apps"),
        {**deployment(strategy={"type": "Recreate"}), "metadata": {"name": "seed"}},
    ),
    (kinds.built_in("statefulsets", "apps"), {**deployment(serviceName="x"), "metadata": {"name": "seed"}}),
    (kinds.built_in("daemonsets", "apps"), {**deployment(), "metadata": {"name": "seed"}}),
    (
        kinds.built_in("namespaces"),
        {"metadata": {"name": "seed", "labels": {"a": "b"}}, "spec": {"finalizers": ["kubernetes"]}},
    ),
    (
        kinds.built_in("nodes"),
        {
            "metadata": {"name": "seed", "labels": {"node-role.kubernetes.io/x": ""}},
            "spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"]},
            "status": {
                "conditions": [{"type": "Ready", "status": "True"}],
                "addresses": [{"type": "InternalIP", "address": "1.1.1.1"}],
            },
        },
    ),
    (
        kinds.built_in("configmaps"),
        {
            "metadata": {
                "name": "seed",
                "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u"}],
                "finalizers": ["a/b"],
            },
            "data": {"a": "b"},
        },
    ),
    (kinds.built_in("secrets"), {"metadata": {"name": "seed"}, "data": {"a": "Yg=="}, "stringData": {"c": "d"}}),
    (
        kinds.built_in("events", "events.k8s.io"),
        {
            "metadata": {"name": "seed"},
            "regarding": {"kind": "Pod", "name": "x"},
            "note": "n",
            "series": {"count": 1, "lastObservedTime": "2026-01-01T00:00:00.000000Z"},
        },
    ),
    (
        kinds.built_in("endpointslices", "discovery.k8s.io"),
        {
            "metadata": {"name": "seed"},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
            "ports": [{"port": 80}],
        },
    ),
    (
        kinds.built_in("endpoints"),
        {"metadata": {"name": "seed"}, "subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]},
    ),
    (
        kinds.built_in("networkpolicies", "networking.k8s.io"),
        {
            "metadata": {"name": "seed"},
            "spec": {
                "podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
                "ingress": [
                    {
                        "from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}],
                        "ports": [{"port": 80, "endPort": 90}],
                    }
                ],
                "egress": [{"to": [{"podSelector": {}}]}],
            },
        },
    ),
    (
        kinds.built_in("poddisruptionbudgets", "policy"),
        {"metadata": {"name": "seed"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "minAvailable": 1}},
    ),
    (
        kinds.built_in("rolebindings", "rbac.authorization.k8s.io"),
        {
            "metadata": {"name": "seed"},
            "roleRef": {"apiGroup": "x", "kind": "Role", "name": "r"},
            "subjects": [{"kind": "User", "name": "u"}],
        },
    ),
    (kinds.built_in("jobs", "batch"), {"metadata": {"name": "seed"}, "spec": {"template": {"spec": pod()["spec"]}}}),
    (
        kinds.built_in("ingresses", "networking.k8s.io"),
        {"metadata": {"name": "seed"}, "spec": {"rules": [{"host": "a"}]}},
    ),
    (kinds.built_in("customresourcedefinitions", "apiextensions.k8s.io"), definition()),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every part of a value below its root."""
    if isinstance(value, dict):
        return [one for key, item in value.items() for one in [(*path, key), *places(item, (*path, key))]]
    if isinstance(value, list):
        return [one for index, item in enumerate(value) for one in [(*path, index), *places(item, (*path, index))]]
    return []


@st.composite
def damaged(draw: st.DrawFn) -> tuple[Kind, dict[str, Any]]:
    """A good object with one to three parts replaced or taken away."""
    kind, seed = draw(st.sampled_from(SEEDS))
    value = copy.deepcopy(seed)
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = draw(st.sampled_from(places(value)))
        node: Any = value
        for part in parents:
            node = node[part]
        if isinstance(last, str) and draw(st.booleans()):
            del node[last]
        else:
            node[last] = draw(JSON)
        if not places(value):
            break
    return kind, value


def attempt(call: Any, *arguments: Any, **more: Any) -> None:
    """Make the call; a refusal is fine if it is the client's fault and says something, anything else is raised."""
    refused: StatusError | None = None
    try:
        call(*arguments, **more)
    except StatusError as error:
        refused = error
    assert refused is None or (refused.code < 500 and refused.body()["message"])


def look(cluster: Cluster, kind: Kind) -> None:
    """Everything that reads objects reads these."""
    stored = cluster.store.select(kind.storage)
    page = listing.page(cluster.store, kind, listing.Query(None, Selector()))
    assert page.items == stored
    values = [one.value for one in stored]
    tables.table(kind, values, "1")
    for value in values:
        if "scale" in kind.subresources:
            subresources.scale_of(kind, value)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damaged(), damaged(), JSON)
def test_damaged_objects_are_stored_or_refused_by_every_verb(
    first: tuple[Kind, dict[str, Any]], second: tuple[Kind, dict[str, Any]], patch: Any
) -> None:
    cluster = Cluster()
    kind, body = first
    namespace = "default" if kind.namespaced else ""
    seed = next(value for one, value in SEEDS if one is kind)
    name = seed["metadata"]["name"]
    write, force = Write("hostile"), Write("applier", force=True)
    attempt(cluster.operations.create, kind, namespace, copy.deepcopy(body), write)
    look(cluster, kind)
    attempt(cluster.operations.create, kind, namespace, copy.deepcopy(seed), write)
    attempt(cluster.operations.update, kind, namespace, name, copy.deepcopy(body), write)
    attempt(cluster.operations.update, kind, namespace, name, copy.deepcopy(body), Write("x", subresource="status"))
    for media_type in (patches.MERGE, patches.STRATEGIC, patches.JSON):
        for change in (body, second[1], patch):
            attempt(cluster.operations.patch, kind, namespace, name, media_type, copy.deepcopy(change), write)
    attempt(cluster.operations.apply, kind, namespace, name, copy.deepcopy(body), force)
    attempt(cluster.operations.apply, kind, namespace, name, copy.deepcopy(seed), force)
    attempt(cluster.operations.apply, kind, namespace, name, copy.deepcopy(body), Write("x", subresource="status"))
    look(cluster, kind)
    attempt(cluster.operations.delete, kind, namespace, name, Delete(propagation="Foreground"))
    cluster.collector.run()
    look(cluster, kind)


ENVELOPE = bytes.fromhex(
    "6b3873000a0f0a0276311209436f6e6669674d6170121d0a130a03636d3212001a0022002a0032003800420012060a01611201621a002200"
)


def test_a_config_map_as_kubectl_sends_it_is_read() -> None:
    assert protobuf.decode(ENVELOPE) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "cm2"},
        "data": {"a": "b"},
    }


@given(st.binary(max_size=80), st.integers(0, len(ENVELOPE)), st.integers(0, len(ENVELOPE)))
def test_any_bytes_are_a_message_or_a_value_error(noise: bytes, start: int, end: int) -> None:
    for content in (noise, b"k8s\0" + noise, ENVELOPE[:start] + noise + ENVELOPE[end:]):
        with contextlib.suppress(ValueError):
            protobuf.decode(content)


def test_every_protobuf_field_has_a_place_in_the_schemas() -> None:
    sources = schemas.built_in_sources()
    for message, fields in protobuf._table().items():
        properties = sources.get(message, {}).get("properties")
        inlined = any(f">{message}" in other.values() for other in protobuf._table().values())
        assert properties is not None or inlined, message
        if properties is not None:
            unknown = [field for field in fields.values() if not field.startswith(">") and field not in properties]
            assert not unknown, (message, unknown)
