"""What is compiled gives every client exactly what Kubernetes says: compared with an independent oracle."""

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from ovnk.kube.service_objects import Endpoint
from ovnk.northbound.facts import Member, Row
from ovnk.translate import compile_cluster
from tests.builders import cluster, endpoint_slice, node, service, subnets
from tests.oracle.services import allowed

NODES, ZONES = ["n0", "n1", "n2", "n3"], ["", "eu-1", "eu-2"]
PORTS = [("a", "TCP", 80), ("b", "TCP", 81), ("a", "UDP", 80), ("", "TCP", 82), ("c", "SCTP", 80)]

names = st.sampled_from(["s0", "s1"])
conditions = st.sampled_from(
    [(True, True, False), (True, True, False), (False, True, True), (False, False, True), (False, False, False)]
)


@st.composite
def services(draw, name):
    number = name[1:]
    v4, v6 = f"10.96.0.{number}", f"fd00:96::{number}"
    ips = draw(st.sampled_from([(v4,), (v6,), (v4, v6)]))
    ports = draw(st.lists(st.sampled_from(PORTS), min_size=1, unique=True))
    return service(name, *ips, ports=ports, internal_local=draw(st.sampled_from([False, False, True])))


@st.composite
def slices(draw, number):
    """All endpoints with hints, some, or none, as the EndpointSlice controller makes them and as it should not."""
    prefix = draw(st.sampled_from(["10.244.0.", "fd00::"]))
    share = draw(st.sampled_from([0, 0.5, 1, 1]))
    hints = st.lists(st.sampled_from(ZONES[1:]), min_size=1, max_size=2, unique=True).map(
        lambda some: tuple(sorted(some))
    )
    node_hints = st.lists(st.sampled_from(NODES), min_size=1, max_size=2, unique=True).map(
        lambda some: tuple(sorted(some))
    )
    none = st.just(())
    endpoints = draw(
        st.lists(
            st.builds(
                lambda last, how, where, zones, nodes: Endpoint(
                    f"{prefix}{last}", *how, node=where, zones=zones, nodes=nodes
                ),
                st.integers(3, 6),
                conditions,
                st.sampled_from(["", *NODES, "gone"]),
                hints if share == 1 else hints | none if share else none,
                draw(st.sampled_from([none, none, node_hints, node_hints | none])),
            ),
            max_size=5,
        )
    )
    some = draw(st.just(PORTS) | st.lists(st.sampled_from(PORTS), min_size=1))
    ports = [(name, protocol, 1000 + port + number) for name, protocol, port in some]
    return endpoint_slice(f"e{number}", *endpoints, of=f"shop/{draw(names)}", ports=ports)


@st.composite
def clusters(draw):
    count = draw(st.integers(1, 4))
    places = [
        node(name, number=index + 1, zone=draw(st.sampled_from(ZONES))) for index, name in enumerate(NODES[:count])
    ]
    return (
        places,
        [draw(services(name)) for name in ("s0", "s1")],
        [draw(slices(number)) for number in range(draw(st.integers(0, 4)))],
    )


def balanced(facts, switch):
    """vip → targets as a packet on the switch meets them; a vip that two balancers of one switch have is an error."""
    members = defaultdict(set)
    for fact in facts:
        if isinstance(fact, Member):
            members[fact.table, fact.key, fact.column].add(getattr(fact.element, "key", None))
    balancers = set(members["Logical_Switch", switch, "load_balancer"])
    for group in members["Logical_Switch", switch, "load_balancer_group"]:
        balancers |= members["Load_Balancer_Group", group, "load_balancer"]
    found = {}
    for fact in facts:
        if isinstance(fact, Row) and fact.table == "Load_Balancer" and fact.key in balancers:
            columns = dict(fact.columns)
            for vip, targets in columns["vips"]:
                place = (*split(vip), columns["protocol"].upper())
                assert place not in found, f"two balancers of {switch} have {place}"
                found[place] = {split(target) for target in targets.split(",") if target}
                assert targets.split(",") == sorted(targets.split(",")), "the text is not stable"
    return found


def split(text):
    """Address and port of "10.0.0.1:80" or "[fd00::1]:80"."""
    address, _, port = text.rpartition(":")
    return address.strip("[]"), int(port)


@settings(max_examples=500, deadline=None)
@given(clusters())
def test_every_client_gets_what_kubernetes_says(made):
    places, some, parts = made
    networks = [subnets(place.name, f"10.244.{index}.0/24") for index, place in enumerate(places)]
    facts = compile_cluster([cluster(), *places, *networks, *some, *parts])
    for place in places:
        wanted = {}
        for one in some:
            for (ip, protocol, port), targets in allowed(one, parts, place.name, place.zone).items():
                wanted[ip, port, protocol] = targets
        assert balanced(facts, place.name) == wanted
