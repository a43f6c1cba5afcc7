"""400 policies over 10,000 pods in 100 namespaces: the compile, a start over it, and single changes.

Changes in, transactions on a real ovsdb-server out; no API server and no dataplane.
"""

import time
from collections.abc import Iterator

from ovnk.allocation import Network
from ovnk.compiler import Compiler
from ovnk.kube.objects import Namespace, Node, Pod, Put, Remove, Replace
from ovnk.kube.policy_objects import NetworkPolicy, PodPeers, PolicyPort
from ovnk.northbound.writer import Northbound
from tests.bench.figures import Figure, Section
from tests.bench.running import Settings
from tests.builders import allowing, cluster, namespace, node, pod, policy, selecting
from tests.ovsdb import ovsdb_server

SPACES, NODES, APPS, POLICIES_A_SPACE = 100, 100, 10, 4
CIDR = "10.0.0.0/8"


def run(settings: Settings) -> Iterator[Figure]:
    """Seconds of the whole, then milliseconds, derivations and northbound operations of each change."""
    section = Section("policies")
    began = time.perf_counter()
    compiler = _compiled(1_000 if settings.quick else 10_000)
    yield section.plain("full compile", time.perf_counter() - began, "s")
    wanted = list(compiler.outputs.northbound)
    with ovsdb_server(settings.folder / "policies") as server:
        northbound = Northbound(server.remote)
        northbound.start(lambda: None)
        try:
            while not northbound.connected:
                time.sleep(0.01)
            northbound.reconcile(wanted)  # type: ignore[arg-type]  # the northbound holds Facts alone
            again = northbound.reconcile(wanted)  # type: ignore[arg-type]  # as above
            yield section.plain("start over it", again.ms / 1000, "s")
            yield section.none("start over it: operations", again.operations, "")
            for name, change in _changes():
                yield from _measured(section, compiler, northbound, name, change)
        finally:
            northbound.stop()


def _compiled(pods: int) -> Compiler:
    compiler = Compiler(cluster(CIDR), (Network(CIDR, 24),))
    compiler.apply(Replace(Node, {f"n{i}": node(f"n{i}", number=i + 1) for i in range(NODES)}))
    spaces = [namespace(f"ns{i}", team=f"t{i % APPS}") for i in range(SPACES)]
    compiler.apply(Replace(Namespace, {one.key: one for one in spaces}))
    some = [_pod(f"p{i}", i % SPACES, (i // SPACES) % NODES, (i // SPACES) % APPS) for i in range(pods)]
    compiler.apply(Replace(Pod, {one.key: one for one in some}))
    policies = [_policy(f"policy{k}", n, k) for n in range(SPACES) for k in range(POLICIES_A_SPACE)]
    compiler.apply(Replace(NetworkPolicy, {one.key: one for one in policies}))
    compiler.lead([])
    compiler.settle()
    compiler.outputs.northbound.take()
    return compiler


def _pod(name: str, space: int, where: int, app: int) -> Pod:
    return pod(name, namespace=f"ns{space}", node=f"n{where}", labels={"app": f"app{app}"})


def _policy(name: str, space: int, app: int) -> NetworkPolicy:
    """About one app of a namespace: lets in another of its apps, and all of the namespaces of one team, at a port."""
    beside = PodPeers(selecting(app=f"app{app + 1}"), namespace=f"ns{space}")
    team = PodPeers((), namespaces=selecting(team=f"t{(space + app) % APPS}"))
    rule = allowing(beside, team, ports=(PolicyPort("TCP", 80, 80),))
    return policy(name, namespace=f"ns{space}", subject=selecting(app=f"app{app}"), ingress=(rule,))


def _changes() -> Iterator[tuple[str, Put | Remove]]:
    yield "one pod in", Put(_pod("x", 1, 1, 1))
    yield "one pod relabelled", Put(_pod("x", 1, 1, 2))
    yield "one pod out", Remove(Pod, "ns1/x")
    yield "one namespace relabelled", Put(namespace("ns5", team="t6"))
    yield "one policy more", Put(_policy("new", 1, 9))


def _measured(
    section: Section, compiler: Compiler, northbound: Northbound, name: str, change: Put | Remove
) -> Iterator[Figure]:
    before, began = compiler.graph.runs.total(), time.perf_counter()
    compiler.apply(change)
    compiler.settle()
    delta = compiler.outputs.northbound.take()
    commit = northbound.apply(delta)
    yield section.plain(f"{name}: to commit", (time.perf_counter() - began) * 1000, "ms")
    yield section.plain(f"{name}: derivations", compiler.graph.runs.total() - before, "")
    yield section.plain(f"{name}: operations", commit.operations, "")
    if "pod" in name:
        acls = [fact for fact in delta.added | delta.removed if getattr(fact, "table", "") == "ACL"]
        yield section.none(f"{name}: ACLs changed", len(acls), "")
