"""Cost follows the change, never the cluster: counted in derivations, not in seconds."""

import pytest

from ovnk.allocation import Network
from ovnk.compiler import Compiler
from ovnk.kube.objects import Namespace, Node, Pod, Put, Remove, Replace
from ovnk.kube.policy_objects import ClusterNetworkPolicy, NetworkPolicy, PodPeers, PolicyPort, Rule
from ovnk.kube.service_objects import Endpoint, EndpointSlice, Service
from tests.builders import (
    allowing,
    cluster,
    cluster_policy,
    endpoint_slice,
    namespace,
    node,
    pod,
    policy,
    selecting,
    service,
)


def loaded(pods, nodes=20):
    compiler = Compiler(cluster(), (Network("10.244.0.0/16", 24),))
    compiler.apply(Replace(Node, {f"n{i}": node(f"n{i}", number=i + 1) for i in range(nodes)}))
    values = [pod(f"p{i}", node=f"n{i % nodes}") for i in range(pods)]
    compiler.apply(Replace(Pod, {value.key: value for value in values}))
    compiler.lead([])
    compiler.settle()
    compiler.outputs.northbound.take()
    return compiler


def cost(compiler, *changes):
    """Derivations and northbound facts that the changes take."""
    before = compiler.graph.runs.total()
    for change in changes:
        compiler.apply(change)
    compiler.settle()
    delta = compiler.outputs.northbound.take()
    return compiler.graph.runs.total() - before, len(delta.added) + len(delta.removed)


@pytest.mark.parametrize(
    ("changes", "derivations", "facts"),
    [
        # the demand; port and entry once the allocator has answered. No policy, nothing that would ask for one
        ([Put(pod("new", node="n3"))], 3, 2),
        ([Put(pod("p0", node="n0", labels={"app": "web"}))], 3, 0),
        ([Put(pod("p0", node="n0", ips=("10.244.0.3",)))], 3, 0),
        ([Remove(Pod, "shop/p0")], 0, 2),
        ([Put(pod("new", node="n3")), Remove(Pod, "shop/new")], 0, 0),
    ],
)
def test_one_pod_costs_the_same_in_a_cluster_of_any_size(changes, derivations, facts):
    assert [cost(loaded(size), *changes) for size in (100, 1000)] == [(derivations, facts)] * 2


def test_one_node_more_costs_the_same_in_a_cluster_of_any_size():
    first, second = (cost(loaded(100, nodes), Put(node("new", number=200))) for nodes in (5, 100))
    assert first == second


def with_services(count, nodes=20, **given):
    """So many Services of ten endpoints each, on so many nodes."""
    compiler = loaded(0, nodes)
    services = [service(f"s{i}", f"10.96.{i // 250}.{i % 250}", **given) for i in range(count)]
    slices = [slice_of(i) for i in range(count)]
    compiler.apply(Replace(Service, {value.key: value for value in services}))
    compiler.apply(Replace(EndpointSlice, {value.key: value for value in slices}))
    compiler.settle()
    compiler.outputs.northbound.take()
    return compiler


def slice_of(number, ready=10, **given):
    endpoints = [Endpoint(f"10.244.{n}.{number % 250}", ready=n < ready, node=f"n{n}", **given) for n in range(10)]
    return endpoint_slice(f"s{number}", *endpoints, of=f"shop/s{number}")


@pytest.mark.parametrize(
    ("changes", "derivations", "facts"),
    [
        # the balancer and what may be told of the slice; one row's old value and its new one
        ([Put(slice_of(1, ready=9))], 2, 2),
        # the balancer, what may be told of the Service, and what it asks of address pools
        ([Put(service("s1", "10.96.0.1", affinity_s=30))], 3, 2),
        ([Put(service("s1", "10.96.0.1", load_balancer_ips=("203.0.113.1",)))], 3, 0),
        ([Put(service("new", "10.96.99.1"))], 3, 2),
        ([Remove(Service, "shop/s1")], 0, 2),
    ],
)
def test_one_service_costs_the_same_among_any_number(changes, derivations, facts):
    assert [cost(with_services(count), *changes) for count in (10, 1000)] == [(derivations, facts)] * 2


def test_one_endpoint_of_a_local_service_costs_its_node_alone():
    """Its node's row is gone, and the node joins those without an endpoint: a row, and two references."""
    change = Put(slice_of(1, ready=9))
    costs = [cost(with_services(10, nodes, internal_local=True), change) for nodes in (20, 100)]
    assert costs == [(2, 3)] * 2


def test_one_node_more_costs_the_services_that_ask_for_nodes_alone():
    before, after = (cost(with_services(count), Put(node("new", number=200))) for count in (10, 1000))
    assert before == after


def with_policies(count, pods=200):
    """Each policy is about the pods of one app, and lets those of another in."""
    compiler = loaded(pods)
    rule = allowing(PodPeers(selecting(app="client"), namespace="shop"), ports=(PolicyPort("TCP", 80, 80),))
    some = [policy(f"policy{n}", subject=selecting(app=f"app{n}"), ingress=(rule,)) for n in range(count)]
    compiler.apply(Replace(NetworkPolicy, {one.key: one for one in some}))
    compiler.apply(Put(pod("served", node="n0", labels={"app": "app3"})))
    compiler.settle()
    compiler.outputs.northbound.take()
    return compiler


def changed_tables(compiler, change):
    compiler.apply(change)
    compiler.settle()
    delta = compiler.outputs.northbound.take()
    return sorted({(fact.table, getattr(fact, "column", "")) for fact in delta.added | delta.removed})


@pytest.mark.parametrize(
    "change",
    [
        Put(pod("new", node="n0", labels={"app": "app3"})),
        Put(pod("p1", node="n1", labels={"app": "client"})),
        Put(pod("served", node="n0", labels={"app": "app4"})),
        Remove(Pod, "shop/served"),
        Put(policy("new", subject=selecting(app="app3"))),
        Remove(NetworkPolicy, "shop/policy3"),
    ],
)
def test_one_change_costs_the_same_among_any_number_of_policies(change):
    assert cost(with_policies(10), change) == cost(with_policies(500), change)


@pytest.mark.parametrize("labels", [{"app": "app3"}, {"app": "client"}])
def test_a_pod_changes_members_and_no_acl(labels):
    compiler = with_policies(10)
    tables = changed_tables(compiler, Put(pod("new", node="n0", labels=labels)))
    assert tables == [("Logical_Switch", "ports"), ("Logical_Switch_Port", ""), ("Port_Group", "ports")]
    assert changed_tables(compiler, Put(pod("new", node="n0", labels={}))) == [("Port_Group", "ports")]


@pytest.mark.parametrize(
    ("labels", "derivations"),
    [
        # of no selection, though in the namespace of all policies: the demand, the port and the entry
        ({"app": "other"}, 3),
        # peers of every policy: its groups too
        ({"app": "client"}, 4),
        # isolated, so that its node's access is asked for as well
        ({"app": "app3"}, 5),
        # the same of a label set that is new: matched against the selection at app=app7 alone, and what is wanted of it
        ({"app": "app7", "version": "2"}, 8),
    ],
)
def test_a_pod_costs_what_policies_want_of_it(labels, derivations):
    for count in (10, 500):
        compiler = with_policies(count)
        compiler.apply(Put(pod("beside", node="n1", labels={"app": "client"})))
        cost(compiler)
        assert cost(compiler, Put(pod("new", node="n0", labels=labels)))[0] == derivations


def spread(spaces, apps=10):
    """So many namespaces, two of them of team a, each with pods of so many apps, and no policy."""
    compiler = loaded(0)
    some = [namespace(f"ns{number}", team="a" if number < 2 else "b") for number in range(spaces)]
    compiler.apply(Replace(Namespace, {one.key: one for one in some}))
    pods = [
        pod(f"p{app}", namespace=one.name, node=f"n{(number + app) % 20}", labels={"app": f"app{app}"})
        for number, one in enumerate(some)
        for app in range(apps)
    ]
    compiler.apply(Replace(Pod, {one.key: one for one in pods}))
    cost(compiler)
    return compiler


@pytest.mark.parametrize(
    "peers",
    [
        PodPeers(selecting(app="app1"), namespaces=selecting(team="a")),
        PodPeers(selecting(app="app1"), namespace="ns1"),
        PodPeers((), namespace="ns1"),
        PodPeers(selecting(app="nowhere"), namespaces=()),
    ],
)
def test_a_selection_costs_the_label_sets_that_it_reaches(peers):
    new = Put(policy("new", namespace="ns0", ingress=(allowing(peers),)))
    assert cost(spread(10), new) == cost(spread(200), new)


def test_a_selection_asks_no_label_set_that_lacks_its_label():
    peers = PodPeers(selecting(app="app1"), namespaces=())
    new = Put(policy("new", namespace="none", ingress=(allowing(peers),)))
    assert cost(spread(10, apps=3), new) == cost(spread(10, apps=300), new)


def test_a_namespace_relabelled_costs_the_pods_that_are_selected_by_it():
    """One pod in and one out, of two apps of the namespace's that policies let in by team; whatever else there is."""

    def relabelled(spaces, apps):
        compiler = spread(spaces, apps)
        for number in range(spaces):
            compiler.apply(Put(policy(f"policy{number}", namespace="ns5", subject=selecting(app=f"none{number}"))))
        for number, team in enumerate("ab"):
            peers = PodPeers(selecting(app=f"app{number}"), namespaces=selecting(team=team))
            compiler.apply(Put(policy(f"team-{team}", namespace="none", ingress=(allowing(peers),))))
        cost(compiler)
        return cost(compiler, Put(namespace("ns5", team="a")))

    small, large = relabelled(10, 3), relabelled(100, 30)
    assert small == large
    assert small[1] == 2


def with_cluster_policies(count, tiers=False):
    """Each is about the pods of one app and denies those of another, a priority each."""
    compiler = loaded(200)
    compiler.have_acl_tiers(tiers)
    compiler.apply(Put(namespace()))
    compiler.apply(Replace(ClusterNetworkPolicy, {one.key: one for one in map(denying, range(count))}))
    compiler.settle()
    compiler.outputs.northbound.take()
    return compiler


def denying(number, action="Deny"):
    peers = (PodPeers(selecting(app="client"), namespaces=()),)
    subject = PodPeers(selecting(app=f"app{number}"), namespaces=())
    return cluster_policy(f"policy{number}", number, subject=subject, ingress=[Rule(peers, None, action)])


@pytest.mark.parametrize("tiers", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        Put(pod("new", node="n0", labels={"app": "app3"})),
        Put(pod("p1", node="n1", labels={"app": "client"})),
        Put(denying(3, "Accept")),
        Put(denying(501)),
        Remove(ClusterNetworkPolicy, "policy3"),
    ],
)
def test_one_change_costs_the_same_among_any_number_of_cluster_policies(change, tiers):
    assert cost(with_cluster_policies(10, tiers), change) == cost(with_cluster_policies(500, tiers), change)


@pytest.mark.parametrize("tiers", [False, True])
def test_a_pod_changes_no_acl_of_a_cluster_policy(tiers):
    compiler = with_cluster_policies(10, tiers)
    tables = changed_tables(compiler, Put(pod("new", node="n0", labels={"app": "client"})))
    assert tables == [("Logical_Switch", "ports"), ("Logical_Switch_Port", ""), ("Port_Group", "ports")]


def test_a_passing_rule_costs_those_behind_it_where_there_are_no_tiers():
    """Derivations, but no fact: the subjects have nothing in common."""
    (few, some), (many, same) = (cost(with_cluster_policies(count), Put(denying(3, "Pass"))) for count in (10, 100))
    assert many - few == 90
    assert same == some
