"""Decoding: what a field becomes, what is refused and how it is said, and that nothing else ever comes out."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovnk import contract
from ovnk.errors import InvalidObject
from ovnk.kube import decode, wire
from ovnk.kube.objects import Namespace, Node, NodeNetwork, Pod


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def pod(**parts: Any) -> Pod:
    metadata = {"namespace": "shop", "name": "web-0", "uid": "u1"} | parts.pop("metadata", {})
    return decode.pod(encoded({"kind": "Pod", "metadata": metadata, **parts}))


def node(*cidrs: str, addresses: list[dict[str, str]] | None = None, **spec: Any) -> Node:
    return decode.node(
        encoded(
            {
                "metadata": {"name": "n1", "uid": "u1"},
                "spec": {"podCIDRs": list(cidrs)} | spec,
                "status": {"addresses": addresses or []},
            }
        )
    )


def network(**spec: Any) -> NodeNetwork:
    return decode.node_network(encoded({"metadata": {"name": "n1", "resourceVersion": "7"}, "spec": spec}))


def internal(address: str) -> dict[str, str]:
    return {"type": "InternalIP", "address": address}


def test_namespace_is_its_name_and_sorted_labels() -> None:
    raw = encoded({"metadata": {"name": "shop", "labels": {"b": "2", "a": "1"}}})
    assert decode.namespace(raw) == Namespace("shop", (("a", "1"), ("b", "2")))


def test_pod_is_decoded_with_what_matters() -> None:
    found = pod(
        metadata={"labels": {"app": "web"}},
        spec={"nodeName": "n1", "hostNetwork": True, "containers": [{"name": "c", "image": "x"}]},
        status={"phase": "Running", "podIP": "10.0.0.3", "podIPs": [{"ip": "10.0.0.3"}, {"ip": "FD00::0003"}]},
    )
    assert found == Pod("shop", "web-0", "u1", "n1", True, False, (("app", "web"),), ("10.0.0.3", "fd00::3"))


def test_pod_without_node_status_and_labels_is_fine() -> None:
    nothing = {"spec": {}, "status": {}}
    nulls = {"metadata": {"labels": None, "annotations": None}, "spec": None, "status": None}
    assert pod() == pod(**nothing) == pod(**nulls) == Pod("shop", "web-0", "u1")


@pytest.mark.parametrize(("phase", "finished"), [("Running", False), ("Succeeded", True), ("Failed", True)])
def test_pod_is_finished_by_its_phase(phase: str, finished: bool) -> None:
    assert pod(status={"phase": phase}).finished is finished


def test_old_status_with_podip_alone_counts() -> None:
    assert pod(status={"podIP": "10.0.0.3"}).ips == ("10.0.0.3",)


def test_pod_of_a_manifest_without_namespace_is_in_default() -> None:
    assert decode.pod(encoded({"metadata": {"name": "web"}})).key == "default/web"


def test_static_pod_has_the_uid_that_its_kubelet_gave_it() -> None:
    mirror = {"kubernetes.io/config.mirror": "h4sh", "kubernetes.io/config.hash": "h4sh"}
    assert pod(metadata={"annotations": mirror}).uid == "h4sh"
    assert pod(metadata={"annotations": {"kubernetes.io/config.hash": "x"}}).uid == "u1", "is no mirror pod"


def test_heartbeats_give_equal_values() -> None:
    def kubelet(time: str) -> dict[str, Any]:
        return {"conditions": [{"type": "Ready", "lastHeartbeatTime": time}], "addresses": [internal("192.0.2.1")]}

    def seen(version: str) -> Node:
        metadata = {"name": "n1", "uid": "u1", "resourceVersion": version, "managedFields": [{"time": version}]}
        return decode.node(encoded({"metadata": metadata, "spec": {}, "status": kubelet(version)}))

    assert seen("1") == seen("2")
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    assert pod(status={"phase": "Running"}) == pod(metadata={"resourceVersion": "9"}, status=ready)


def test_node_has_its_first_internal_address_of_each_family() -> None:
    addresses = [
        {"type": "Hostname", "address": "n1.example"},
        {"type": "ExternalIP", "address": "198.51.100.1"},
        internal("192.0.2.1"),
        internal("192.0.2.2"),
        internal("2001:DB8::1"),
    ]
    assert node(addresses=addresses).addresses == ("192.0.2.1", "2001:db8::1")


def test_node_with_podcidr_alone_has_it() -> None:
    assert node(podCIDR="10.244.1.0/24").pod_cidrs == ("10.244.1.0/24",)
    assert node("10.244.1.0/24", "fd00:1::/64", podCIDR="10.244.1.0/24").pod_cidrs == ("10.244.1.0/24", "fd00:1::/64")


@pytest.mark.parametrize(
    ("cidrs", "field", "why"),
    [
        (["10.0.0.0/33"], "spec.podCIDRs[0]", "'10.0.0.0/33' does not appear to be an IPv4 or IPv6 network"),
        (["10.0.0.7/24"], "spec.podCIDRs[0]", "10.0.0.7/24 has host bits set"),
        (["10.0.0.0/24", "nonsense"], "spec.podCIDRs[1]", "'nonsense'"),
        (["10.0.0.0/30"], "spec.podCIDRs[0]", "no room"),
        (["fd00::/128"], "spec.podCIDRs[0]", "no room"),
        (["10.0.0.0/24", "10.0.1.0/24"], "spec.podCIDRs", "two networks of IPv4"),
        (["10.0.0.0/24", "fd00::/64", "10.0.1.0/24"], "spec.podCIDRs", "3 entries"),
    ],
)
def test_node_with_unusable_podcidrs_is_refused_in_plain_words(cidrs: list[str], field: str, why: str) -> None:
    with pytest.raises(InvalidObject) as caught:
        node(*cidrs)
    error = caught.value
    assert (error.kind, error.key, error.uid, error.field) == ("Node", "n1", "u1", field)
    assert why in error.why
    assert "until it is fixed" in error.why


@pytest.mark.parametrize("address", ["n1.example", "10.0.0.256", "fe80::1%eth0", "", "010.0.0.1"])
def test_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InvalidObject, match=r"Node n1: status\.addresses\[0\]\.address"):
        node(addresses=[internal(address)])
    with pytest.raises(InvalidObject, match=r"Pod shop/web-0: status\.podIPs\[0\]\.ip"):
        pod(status={"podIPs": [{"ip": address}]})


def test_wrong_type_names_its_field() -> None:
    with pytest.raises(InvalidObject) as caught:
        pod(spec={"nodeName": 5})
    assert str(caught.value) == "Pod shop/web-0: spec.nodeName cannot be used: expected `str | null`, got `int`"


@pytest.mark.parametrize("name", ["a" * 253, "a.b-c", "0"])
def test_names_up_to_the_limits_are_fine(name: str) -> None:
    assert pod(metadata={"name": name, "namespace": "n" * 63}).name == name


@pytest.mark.parametrize("name", ["a" * 254, "web/0", "node:n1", "Web", "-a", "a\n", "", None])
def test_name_that_the_api_would_refuse_is_refused(name: str | None) -> None:
    """A '/' or ':' could pass for another port's iface-id."""
    with pytest.raises(InvalidObject, match=r"metadata\.name"):
        pod(metadata={"name": name})


ALLOCATION = {"namespace": "shop", "name": "a", "uid": "u", "ips": ["10.244.1.3"], "mac": "0a:58:0a:f4:01:03"}
SUBNET = {"name": "default", "cidr": "10.244.1.0/24", "gateway": "10.244.1.1"}


def test_node_network_is_decoded() -> None:
    management = {"addresses": ["10.244.1.2/24"], "mac": "0a:58:0a:f4:01:02"}
    found = network(subnets=[SUBNET], management=management, clusterCidrs=["10.244.0.0/16"], pods=[ALLOCATION])
    assert (found.key, found.resource_version) == ("n1", "7")
    assert found.spec.pods[0].subnet == contract.DEFAULT_SUBNET
    assert found.spec.management is not None


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"pods": [ALLOCATION | {"ips": []}]}, r"spec\.pods\[0\]\.ips"),
        ({"pods": [ALLOCATION | {"ips": ["10.244.1.300"]}]}, r"spec\.pods\[0\]\.ips\[0\]"),
        ({"pods": [ALLOCATION, ALLOCATION | {"ips": ["10.0.0.1", "FD00::1"]}]}, r"spec\.pods\[1\]\.ips\[1\]"),
        ({"pods": [ALLOCATION | {"mac": "0A:58"}]}, r"spec\.pods\[0\]\.mac"),
        ({"pods": {"a": 1}}, r"spec\.pods"),
        ({"subnets": [SUBNET | {"cidr": "10.244.1.7/24"}]}, r"spec\.subnets\[0\]\.cidr"),
        ({"subnets": [SUBNET | {"gateway": "none"}]}, r"spec\.subnets\[0\]\.gateway"),
        ({"management": {"addresses": ["x"], "mac": "0a:58:0a:f4:01:02"}}, r"spec\.management\.addresses\[0\]"),
        ({"clusterCidrs": ["10.244.0.0"]}, r"spec\.clusterCidrs\[0\]"),
        ({"serviceCidrs": ["fd00::/200"]}, r"spec\.serviceCidrs\[0\]"),
        ({"mtuBytes": 100}, r"spec\.mtuBytes"),
    ],
)
def test_node_network_that_does_not_fit_is_refused(spec: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidObject, match="NodeNetwork n1: " + field):
        network(**spec)


def test_node_network_without_spec_is_refused() -> None:
    with pytest.raises(InvalidObject, match="NodeNetwork n1: spec is missing"):
        decode.node_network(encoded({"metadata": {"name": "n1"}}))


DECODERS = [decoder for _, decoder in (*decode.KINDS.values(), *decode.OPTIONAL_KINDS.values())]

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
# Objects that look like objects, so that generation gets past the first field.
names = st.sampled_from(["web", "web-0", "a/b", "", "n" * 254]) | st.text(max_size=5)
texts = st.sampled_from(["10.0.0.0/24", "10.0.0.3", "fd00::/64", "fd00::3", "x", "10.0.0.1/24"]) | st.text(max_size=5)


def fields(**known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object whose fields are absent, as they should be, or anything."""
    return st.fixed_dictionaries({}, optional={name: usual | anything for name, usual in known.items()})


objects = fields(
    metadata=fields(
        name=names,
        namespace=names,
        uid=st.text(max_size=5),
        resourceVersion=st.text(max_size=5),
        labels=st.dictionaries(st.text(max_size=5), st.text(max_size=5) | anything, max_size=3),
    ),
    spec=fields(
        nodeName=names,
        hostNetwork=st.booleans(),
        podCIDR=texts,
        podCIDRs=st.lists(texts, max_size=3),
        clusterCidrs=st.lists(texts, max_size=3),
        pods=st.lists(fields(namespace=names, name=names, uid=names, ips=st.lists(texts), mac=texts), max_size=2),
        subnets=st.lists(fields(name=names, cidr=texts, gateway=texts), max_size=2),
    ),
    status=fields(
        phase=st.text(max_size=5),
        podIPs=st.lists(fields(ip=texts), max_size=3),
        addresses=st.lists(fields(type=st.just("InternalIP"), address=texts), max_size=3),
    ),
)


def value_or_invalid(raw: bytes) -> None:
    for decoder in DECODERS:
        try:
            hash(decoder(raw))
        except InvalidObject as error:
            said = (error.field, error.why)
            assert all(said)
    wire.identity(raw)


@settings(max_examples=400, deadline=None)
@given(anything | objects)
def test_any_json_gives_a_value_or_invalid_object(value: Any) -> None:
    value_or_invalid(encoded(value))


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200) | objects.map(encoded).flatmap(lambda raw: st.integers(0, len(raw)).map(lambda n: raw[:n]))
)
def test_any_bytes_give_a_value_or_invalid_object(raw: bytes) -> None:
    value_or_invalid(raw)


@pytest.mark.parametrize("raw", [b'{"metadata":{"name":"\xff"}}', b'{"x":' + b"[" * 100_000, b"", b"null", b"[]"])
def test_hostile_bytes_give_invalid_object(raw: bytes) -> None:
    for decoder in DECODERS:
        with pytest.raises(InvalidObject):
            decoder(raw)


ipv4 = st.ip_addresses(v=4).map(str)
allocations = st.builds(
    contract.PodAllocation,
    namespace=st.just("shop"),
    name=st.from_regex(r"[a-z]{1,8}", fullmatch=True),
    uid=st.uuids().map(str),
    ips=st.tuples(ipv4) | st.tuples(ipv4, st.ip_addresses(v=6).map(str)),
    mac=st.just("0a:58:0a:f4:01:03"),
)
specs = st.builds(
    contract.NodeNetworkSpec,
    subnets=st.lists(
        st.builds(contract.SubnetRange, name=st.just("default"), cidr=st.just("10.0.0.0/8"), gateway=ipv4), max_size=2
    ).map(tuple),
    mtu_bytes=st.none() | st.integers(576, 65535),
    pods=st.lists(allocations, max_size=4).map(tuple),
)


@given(specs)
def test_node_network_written_is_node_network_read(spec: contract.NodeNetworkSpec) -> None:
    raw = msgspec.json.encode({"metadata": {"name": "n1"}, "spec": spec})
    assert decode.node_network(raw).spec == spec


@given(
    st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4),
    st.sampled_from(["", "n1"]),
    st.lists(ipv4, max_size=2),
)
def test_pod_written_is_pod_read(labels: dict[str, str], node_name: str, ips: list[str]) -> None:
    found = pod(
        metadata={"labels": labels}, spec={"nodeName": node_name}, status={"podIPs": [{"ip": ip} for ip in ips]}
    )
    assert dict(found.labels) == labels
    assert list(found.labels) == sorted(labels.items())
    assert (found.node, found.ips) == (node_name, tuple(ips))
