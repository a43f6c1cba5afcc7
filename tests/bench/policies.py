"""Policies over 10,000 pods in 100 namespaces: the compile, a start over it, single changes among 10 to 2,000 policies.

Changes in, transactions on a real ovsdb-server out; no API server and no dataplane. What a change costs the compiler is
processor time, and the sizes take turns. From policy to packet is measured in the lab (inside.py).
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ovnk.allocation import Network
from ovnk.compiler import Compiler
from ovnk.incremental.desired import Delta
from ovnk.kube.objects import Change, Namespace, Node, Pod, Put, Remove, Replace
from ovnk.kube.policy_objects import NetworkPolicy, PodPeers, PolicyPort
from ovnk.northbound.writer import Northbound
from tests.bench.engine import collected
from tests.bench.figures import Figure, Section
from tests.bench.running import Settings, middle
from tests.builders import allowing, cluster, namespace, node, pod, policy, selecting
from tests.ovsdb import ovsdb_server

FEW, STATED, MANY = 10, 400, 2_000
SPACES, NODES, APPS, POLICIES_A_SPACE = 100, 100, 10, 4
CIDR = "10.0.0.0/8"
ROUNDS = 30
MULTIPLE_MOST = 1.3


@dataclass(frozen=True)
class Step:
    """A change that is measured, and the one that undoes it."""

    name: str
    there: Change
    back: Change


def run(settings: Settings) -> Iterator[Figure]:
    """Seconds of the whole; then milliseconds, derivations and northbound operations of each change."""
    section = Section("policies")
    pods = _pods(1_000 if settings.quick else 10_000)
    began = time.process_time()
    compilers = {STATED: _compiled(pods, STATED)}
    yield section.plain(f"{STATED} policies, {len(pods):,} pods: full compile", time.process_time() - began, "s")
    yield from _written(section, settings, compilers[STATED])
    compilers |= {count: _compiled(pods, count) for count in (FEW, MANY)}
    with collected():
        for step in _steps():
            yield from _compared(section, compilers, step)
    compilers.clear()
    own = {key: _labelled(one, pod=one.name) for key, one in pods.items()}
    with collected():
        spent, derived = _rounds({STATED: _compiled(own, STATED)}, _selector_across())
    name = f"{_selector_across().name}, each pod with a label of its own"
    yield section.plain(f"{name}: p50", middle(spent[STATED]), "ms")
    yield section.plain(f"{name}: derivations", derived[STATED], "")


def _written(section: Section, settings: Settings, compiler: Compiler) -> Iterator[Figure]:
    """What each change is in the northbound, and how long it takes until it is committed there."""
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
            for step in _steps():
                began = time.perf_counter()
                delta = _taken(compiler, step.there)
                commit = northbound.apply(delta)
                yield section.plain(f"{step.name}: to commit", (time.perf_counter() - began) * 1000, "ms")
                yield section.plain(f"{step.name}: operations", commit.operations, "")
                if "pod" in step.name:
                    acls = [fact for fact in delta.added | delta.removed if getattr(fact, "table", "") == "ACL"]
                    yield section.none(f"{step.name}: ACLs changed", len(acls), "")
                northbound.apply(_taken(compiler, step.back))
        finally:
            northbound.stop()


def _compared(section: Section, compilers: Mapping[int, Compiler], step: Step) -> Iterator[Figure]:
    """What a change costs the compiler among few policies and among many."""
    spent, derived = _rounds(compilers, step)
    yield section.plain(f"{step.name} at {STATED}: p50", middle(spent[STATED]), "ms")
    few, many = middle(spent[FEW]), middle(spent[MANY])
    yield section.multiple(f"{step.name} at {MANY:,}: p50", many, "ms", f"at {FEW}", few, MULTIPLE_MOST)
    more, beside = derived[MANY] - derived[FEW], f"derivations at {FEW}"
    yield section.none(f"{step.name} at {MANY:,}: derivations more", more, "", beside, derived[FEW])


def _rounds(compilers: Mapping[int, Compiler], step: Step) -> tuple[dict[int, list[float]], dict[int, int]]:
    """Milliseconds of each round, and derivations of one, by the number of policies."""
    spent: dict[int, list[float]] = {count: [] for count in compilers}
    derived: dict[int, int] = {}
    for _ in range(ROUNDS):
        for count, compiler in compilers.items():
            before, began = compiler.graph.runs.total(), time.process_time()
            _taken(compiler, step.there)
            spent[count].append((time.process_time() - began) * 1000)
            derived[count] = compiler.graph.runs.total() - before
            _taken(compiler, step.back)
    return spent, derived


def _taken(compiler: Compiler, change: Change) -> Delta:
    compiler.apply(change)
    compiler.settle()
    compiler.outputs.node_networks.take()
    return compiler.outputs.northbound.take()


def _steps() -> Iterator[Step]:
    one, gone = _pod("x", 1, 1, 1), Remove(Pod, "ns1/x")
    yield Step("one pod in", Put(one), gone)
    yield Step("one pod out", Remove(Pod, "ns1/p1"), Put(_pod("p1", 1, 0, 0)))
    yield Step("one pod relabelled", Put(_pod("p1", 1, 0, 2)), Put(_pod("p1", 1, 0, 0)))
    yield Step("one namespace relabelled", Put(_space(1, team="t2")), Put(_space(1)))
    yield Step("one policy more", Put(_policy("new", 1, 9)), Remove(NetworkPolicy, "ns1/new"))
    yield _selector_across()


def _selector_across() -> Step:
    rule = allowing(PodPeers(selecting(app="app3"), namespaces=selecting(team="t7")))
    new = policy("new", namespace="ns1", subject=selecting(app="app9"), ingress=(rule,))
    return Step("one selector across namespaces more", Put(new), Remove(NetworkPolicy, new.key))


def _compiled(pods: Mapping[str, Pod], policies: int) -> Compiler:
    compiler = Compiler(cluster(CIDR), (Network(CIDR, 24),))
    compiler.apply(Replace(Node, {f"n{i}": node(f"n{i}", number=i + 1) for i in range(NODES)}))
    compiler.apply(Replace(Namespace, _by_key(map(_space, range(SPACES)))))
    compiler.apply(Replace(Pod, dict(pods)))
    compiler.apply(Replace(NetworkPolicy, _by_key(map(_numbered, range(policies)))))
    compiler.lead([])
    compiler.settle()
    compiler.outputs.northbound.take()
    return compiler


def _numbered(number: int) -> NetworkPolicy:
    """Four a namespace, about an app each; beyond 400 in all, about apps of which there are no pods."""
    space, app = number // POLICIES_A_SPACE % SPACES, number % POLICIES_A_SPACE
    idle = number // (POLICIES_A_SPACE * SPACES) * 1_000
    return _policy(f"policy{number}", space, app + idle)


def _policy(name: str, space: int, app: int) -> NetworkPolicy:
    """About one app of a namespace: lets in another of its apps, and all of the namespaces of one team, at a port."""
    beside = PodPeers(selecting(app=f"app{app + 1}"), namespace=f"ns{space}")
    team = PodPeers((), namespaces=selecting(team=f"t{(space + app) % APPS}"))
    rule = allowing(beside, team, ports=(PolicyPort("TCP", 80, 80),))
    return policy(name, namespace=f"ns{space}", subject=selecting(app=f"app{app}"), ingress=(rule,))


def _space(number: int, team: str = "") -> Namespace:
    return namespace(f"ns{number}", team=team or f"t{number % APPS}")


def _pods(count: int) -> dict[str, Pod]:
    return _by_key(_pod(f"p{i}", i % SPACES, (i // SPACES) % NODES, (i // SPACES) % APPS) for i in range(count))


def _pod(name: str, space: int, where: int, app: int) -> Pod:
    return pod(name, namespace=f"ns{space}", node=f"n{where}", labels={"app": f"app{app}"})


def _labelled(one: Pod, **labels: str) -> Pod:
    return pod(one.name, namespace=one.namespace, node=one.node, labels=dict(one.labels) | labels)


def _by_key(values: Iterable[Pod | Namespace | NetworkPolicy]) -> dict:
    return {one.key: one for one in values}
