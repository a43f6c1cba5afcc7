"""Cost follows the change, never the cluster: counted in derivations, not in seconds."""

import pytest

from ovnk.allocation import Network
from ovnk.compiler import Compiler
from ovnk.kube.objects import Node, Pod, Put, Remove, Replace
from tests.builders import cluster, node, pod


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
        # demand, port and entry at once; port and entry again when the allocator has answered
        ([Put(pod("new", node="n3"))], 5, 2),
        ([Put(pod("p0", node="n0", labels={"app": "web"}))], 3, 0),
        ([Put(pod("p0", node="n0", ips=("10.244.0.3",)))], 3, 0),
        ([Remove(Pod, "shop/p0")], 0, 2),
        ([Put(pod("new", node="n3")), Remove(Pod, "shop/new")], 0, 0),
    ],
)
def test_one_pod_costs_the_same_in_a_cluster_of_any_size(changes, derivations, facts):
    assert [cost(loaded(size), *changes) for size in (100, 2000)] == [(derivations, facts)] * 2


def test_one_node_more_costs_the_same_in_a_cluster_of_any_size():
    first, second = (cost(loaded(100, nodes), Put(node("new", number=200))) for nodes in (5, 100))
    assert first == second
