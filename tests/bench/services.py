"""1,000 Services of ten endpoints: from JSON to commit, one endpoint's change among few and many, rows and flows.

Beside the commit stands ovsdb-server's own time for the very same operations, encoded before the clock runs. Until a
change is served by three nodes: service_effect.py.
"""

import gc
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from ovnk.compiler import Compiler
from ovnk.incremental.desired import Delta
from ovnk.kube import decode_services
from ovnk.kube.objects import Change, Put, Replace
from ovnk.kube.service_objects import EndpointSlice, Service
from tests.bench import engine, objects, service_effect
from tests.bench.figures import Figure, Section
from tests.bench.northbound import in_place, server_seconds
from tests.bench.running import Settings, middle
from tests.proof.scratch import Scratch, scratch

SERVICES, ENDPOINTS, NODES = 1_000, 10, 20
SECONDS_MOST = 3.0
TURNS = 3
FEW, MANY, ROUNDS = 10, 5_000, 200
MULTIPLE_MOST = 1.3
FLOW_SERVICES, FLOW_NODES = 100, (3, 12)


def run(settings: Settings) -> Iterator[Figure]:
    """Seconds of the whole, what one endpoint costs, rows and flows a Service, and milliseconds until served."""
    section = Section("services")
    yield from _from_nothing(section, settings)
    yield from _one_endpoint(section, settings)
    with scratch(settings.folder / "flows") as plane:
        yield from _rows_and_flows(section, plane)
    yield from service_effect.run(section, settings)


def _from_nothing(section: Section, settings: Settings) -> Iterator[Figure]:
    turns = [
        (_commit(settings.folder), server_seconds(settings.folder, engine.compiler(0, NODES), _all))
        for _ in range(1 if settings.quick else TURNS)
    ]
    ours, theirs = (middle([turn[side] for turn in turns]) for side in (0, 1))
    name = f"{SERVICES:,} Services of {ENDPOINTS}: JSON to commit"
    yield section.below(name, ours, "s", SECONDS_MOST, "ovsdb-server, encoded before", theirs)


def _commit(folder: Path) -> float:
    manifests = _manifests(SERVICES)
    with in_place(folder, engine.compiler(0, NODES)) as (compiler, northbound, _):
        began = time.perf_counter()
        commit = northbound.apply(_delta(compiler, manifests))
        spent = time.perf_counter() - began
        assert not commit.quarantined, commit
    return spent


def _all(compiler: Compiler) -> Delta:
    return _delta(compiler, _manifests(SERVICES))


def _delta(compiler: Compiler, manifests: tuple[list[bytes], list[bytes]]) -> Delta:
    services, slices = manifests
    for raw in services:
        compiler.apply(Put(decode_services.service(raw)))
    for raw in slices:
        compiler.apply(Put(decode_services.endpoint_slice(raw)))
    compiler.settle()
    return compiler.outputs.northbound.take()


def _one_endpoint(section: Section, settings: Settings) -> Iterator[Figure]:
    """One endpoint of one Service becomes unready and ready again, in turns with few and with many Services."""
    compilers = {count: engine.compiler(0, NODES) for count in (FEW, MANY)}
    for count, compiler in compilers.items():
        compiler.apply(_replaced(Service, decode_services.service, _manifests(count)[0]))
        compiler.apply(_replaced(EndpointSlice, decode_services.endpoint_slice, _manifests(count)[1]))
        engine.settle(compiler)
    spent: dict[int, list[float]] = {FEW: [], MANY: []}
    derived: dict[int, int] = {}
    gc.collect()
    gc.freeze()
    for turn in range(ROUNDS // 4 if settings.quick else ROUNDS):
        for count, compiler in compilers.items():
            changed = decode_services.endpoint_slice(_slice(turn % FEW, ready=ENDPOINTS - 1 - turn // FEW % 2))
            before, began = compiler.graph.runs.total(), time.perf_counter()
            compiler.apply(Put(changed))
            engine.settle(compiler)
            spent[count].append((time.perf_counter() - began) * 1e6)
            derived[count] = compiler.graph.runs.total() - before
    gc.unfreeze()
    few, many = middle(spent[FEW]), middle(spent[MANY])
    name = f"one endpoint changed among {MANY:,} Services"
    yield section.multiple(f"{name}: derivations", derived[MANY], "", f"among {FEW}", derived[FEW], 1.0)
    yield section.multiple(f"{name}: p50", many, "µs", f"among {FEW}", few, MULTIPLE_MOST)


def _rows_and_flows(section: Section, plane: Scratch) -> Iterator[Figure]:
    """What a Service adds to the northbound, and northd to the southbound, on few nodes and on more."""
    added: dict[int, tuple[float, float]] = {}
    for nodes in FLOW_NODES:
        counts = []
        for count in (0, FLOW_SERVICES):
            compiler = engine.compiler(0, nodes)
            _delta(compiler, _manifests(count))
            facts = list(compiler.outputs.northbound)
            plane.hold(facts)  # type: ignore[arg-type]  # all of them are Facts
            counts.append((sum(hasattr(fact, "columns") for fact in facts), plane.logical_flows()))
        rows, flows = ((after - before) / FLOW_SERVICES for before, after in zip(counts[0], counts[1], strict=True))
        added[nodes] = rows, flows
    few, more = FLOW_NODES
    for index, what in enumerate(("northbound rows", "logical flows")):
        yield section.plain(f"a Service of one port, {few} nodes: {what}", added[few][index], "")
        growth = (added[more][index] - added[few][index]) / (more - few)
        yield section.plain(f"a Service of one port: {what} for each node more", growth, "")


def _replaced(kind: type, decoder: Any, manifests: list[bytes]) -> Change:
    values = [decoder(raw) for raw in manifests]
    return Replace(kind, {value.key: value for value in values})


def _manifests(count: int) -> tuple[list[bytes], list[bytes]]:
    return [_service(number) for number in range(count)], [_slice(number) for number in range(count)]


def _service(number: int) -> bytes:
    """As the API server sends it, as far as anybody here reads it."""
    metadata = {"namespace": objects.NAMESPACE, "name": f"web-{number}", "uid": f"uid-service-{number}"}
    port = {"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}
    address = f"172.16.{number // 250}.{number % 250 + 1}"
    spec = {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address], "ports": [port], "ipFamilies": ["IPv4"]}
    return orjson.dumps({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})


def _slice(number: int, ready: int = ENDPOINTS) -> bytes:
    labels = {decode_services.SERVICE_NAME_LABEL: f"web-{number}"}
    metadata = {"namespace": objects.NAMESPACE, "name": f"web-{number}-x", "uid": f"uid-{number}", "labels": labels}
    endpoints = [
        {
            "addresses": [f"10.0.{place}.{number % 250 + 3}"],
            "conditions": {"ready": place < ready, "serving": place < ready, "terminating": False},
            "nodeName": objects.node_name(place),
            "targetRef": {"kind": "Pod", "namespace": objects.NAMESPACE, "name": f"web-{number}-{place}"},
        }
        for place in range(ENDPOINTS)
    ]
    ports = [{"name": "http", "protocol": "TCP", "port": 8080}]
    kind = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4"}
    return orjson.dumps({**kind, "metadata": metadata, "ports": ports, "endpoints": endpoints})
