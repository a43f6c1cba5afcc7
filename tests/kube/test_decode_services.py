"""Decoding Services and EndpointSlices: what Kubernetes grants by default, what is refused, and nothing else."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovnk.errors import InvalidObject
from ovnk.kube import decode_services
from ovnk.kube.service_objects import Endpoint, EndpointSlice, Service, ServicePort


def service(metadata: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **spec: Any) -> Service:
    spec = {"clusterIP": "10.96.0.10", "ports": [{"port": 80}]} | spec
    found = {"metadata": {"namespace": "shop", "name": "web"} | (metadata or {}), "spec": spec, "status": status}
    return decode_services.service(json.dumps(found).encode())


def endpoint_slice(*endpoints: Any, **parts: Any) -> EndpointSlice:
    metadata = {"namespace": "shop", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}}
    found = {"metadata": metadata, "addressType": "IPv4", "ports": [{"port": 8080}], "endpoints": endpoints} | parts
    return decode_services.endpoint_slice(json.dumps(found).encode())


def test_defaults_are_kubernetes_own() -> None:
    assert service() == Service("shop", "web", cluster_ips=("10.96.0.10",), ports=(ServicePort("", "TCP", 80),))
    assert service(sessionAffinity="ClientIP").affinity_s == 10800
    found = endpoint_slice({"addresses": ["10.0.0.3", "10.0.0.4"]})
    assert (found.service, found.ports, found.endpoints) == ("shop/web", (("", "TCP", 8080),), (Endpoint("10.0.0.3"),))


@pytest.mark.parametrize(
    ("metadata", "spec"),
    [
        ({}, {"clusterIP": "None", "ports": []}),
        ({}, {"type": "ExternalName", "clusterIP": "", "ports": []}),
        ({"labels": {"service.kubernetes.io/service-proxy-name": "mine"}}, {}),
        ({"labels": {"service.kubernetes.io/headless": ""}}, {}),
    ],
    ids=["headless", "ExternalName", "another proxy's", "labelled headless"],
)
def test_what_is_not_balanced_has_neither_addresses_nor_ports(metadata: Any, spec: Any) -> None:
    found = service(metadata, **spec)
    assert (found.cluster_ips, found.ports, found.external_ips) == ((), (), ())


def test_only_addresses_of_mode_vip_are_balanced() -> None:
    ingress = [{"ip": "203.0.113.1"}, {"ip": "203.0.113.2", "ipMode": "Proxy"}, {"hostname": "lb.example.org"}]
    assert service(status={"loadBalancer": {"ingress": ingress}}).load_balancer_ips == ("203.0.113.1",)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"ports": []}, "spec.ports is empty"),
        ({"ports": [{"port": 80, "protocol": "QUIC"}]}, 'spec.ports[0].protocol "QUIC" is none of'),
        ({"ports": [{"port": 0}]}, "spec.ports[0].port is 0"),
        ({"ports": [{"port": 80}, {"port": 80}]}, "spec.ports[1] is TCP port 80, which the Service has already"),
        ({"clusterIPs": ["10.96.0.300"]}, 'spec.clusterIPs[0] "10.96.0.300" is not an IP address'),
        ({"externalIPs": ["x"]}, 'spec.externalIPs[0] "x" is not an IP address'),
        ({"loadBalancerSourceRanges": ["10/8"]}, 'spec.loadBalancerSourceRanges[0] "10/8" is not a CIDR'),
        ({"internalTrafficPolicy": "Nearby"}, 'spec.internalTrafficPolicy "Nearby" is neither'),
        ({"sessionAffinity": "Cookie"}, 'spec.sessionAffinity "Cookie" is neither'),
    ],
)
def test_a_service_that_cannot_be_used_says_where_and_why(spec: Any, says: str) -> None:
    with pytest.raises(InvalidObject) as raised:
        service(**spec)
    assert f"Service shop/web: {says}" in str(raised.value)


@pytest.mark.parametrize(
    ("endpoint", "parts", "says"),
    [
        ({"addresses": ["10.0.0.3"]}, {"addressType": "AppleTalk"}, 'addressType "AppleTalk" is none of'),
        ({"addresses": []}, {}, "endpoints[0].addresses is empty"),
        ({"addresses": ["fd00::3"]}, {}, 'endpoints[0].addresses[0] "fd00::3" is not IPv4'),
        ({"addresses": ["10.0.0.3"]}, {"ports": [{"port": 70000}]}, "ports[0].port is 70000"),
    ],
)
def test_a_slice_that_cannot_be_used_says_where_and_why(endpoint: Any, parts: Any, says: str) -> None:
    with pytest.raises(InvalidObject) as raised:
        endpoint_slice(endpoint, **parts)
    assert f"EndpointSlice shop/web-1: {says}" in str(raised.value)


def test_a_slice_of_names_has_no_endpoints_and_says_what_it_is() -> None:
    found = endpoint_slice({"addresses": ["db.example.org"]}, addressType="FQDN")
    assert (found.fqdn, found.endpoints) == (True, ())


flags = st.sampled_from([None, True, False])


@given(flags, flags, flags, st.lists(st.sampled_from(["a", "b", ""]), max_size=3))
def test_conditions_and_hints_are_read_as_kep_1669_has_them(ready: Any, serving: Any, leaving: Any, zones: Any) -> None:
    conditions = {"ready": ready, "serving": serving, "terminating": leaving}
    hints = {"forZones": [{"name": zone} for zone in zones]}
    (found,) = endpoint_slice({"addresses": ["10.0.0.3"], "conditions": conditions, "hints": hints}).endpoints
    assert (found.ready, found.serving, found.terminating) == (
        ready in (None, True),
        serving in (None, True),
        bool(leaving),
    )
    assert found.zones == tuple(sorted({zone for zone in zones if zone}))


scalars = (
    st.none() | st.booleans() | st.integers(-1, 70000) | st.sampled_from(["", "TCP", "10.0.0.3", "fd00::3", "None"])
)
anything = scalars | st.lists(scalars, max_size=2)
port = st.fixed_dictionaries({}, optional=dict.fromkeys(("name", "port", "protocol", "nodePort"), anything))
specs = st.fixed_dictionaries(
    {},
    optional={"ports": st.lists(port, max_size=2) | anything}
    | dict.fromkeys(("type", "clusterIP", "clusterIPs", "externalIPs", "sessionAffinity", "ipFamilies"), anything),
)
parts = st.fixed_dictionaries(
    {"addressType": st.sampled_from(["IPv4", "IPv6", "FQDN"]) | anything},
    optional={
        "ports": st.lists(port, max_size=2) | anything,
        "endpoints": st.lists(
            st.fixed_dictionaries({}, optional={"addresses": anything, "hints": anything}), max_size=2
        ),
    },
)


@settings(max_examples=300, deadline=None)
@given(specs, parts)
def test_anything_gives_a_value_or_invalid_object(spec: dict[str, Any], rest: dict[str, Any]) -> None:
    for decode in (lambda: service(**spec), lambda: endpoint_slice(**rest)):
        try:
            hash(decode())
        except InvalidObject as error:
            said = (error.field, error.why)
            assert all(said)
