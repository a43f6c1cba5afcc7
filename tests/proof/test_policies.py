"""The proof: northd's logical flows for random clusters let through exactly what the policies' documentation says.

The compiled northbound of each goes into a real ovsdb-server and through a real ovn-northd, and ovn-trace is asked.
PROOF_CLUSTERS=2000 asks of so many; of a failure the smallest cluster that is found is printed as a golden folder's
cluster.yaml.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, note, settings

from tests.oracle.policies import End
from tests.oracle.questions import Place, Question, questions
from tests.oracle.random_clusters import clusters, compiled, manifest, node
from tests.oracle.tiers import without_tiers
from tests.proof import microflows
from tests.proof.scratch import Scratch, scratch

CLUSTERS = int(os.environ.get("PROOF_CLUSTERS", "80"))

pytestmark = [pytest.mark.system, pytest.mark.timeout(200 + CLUSTERS)]

QUESTIONS_A_CLUSTER = 100
# In the source's switch, and in the target's; twice as many with a Service.
LOOKUPS_A_CONNECTION = 6


@pytest.fixture(scope="module")
def ovn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    folder: Path = tmp_path_factory.mktemp("proof")
    with scratch(folder) as running:
        yield running


@settings(max_examples=CLUSTERS, deadline=None, suppress_health_check=list(HealthCheck))
@given(objects=clusters())
def test_r14_what_ovn_lets_through_is_what_the_policies_say(ovn: Scratch, objects: Any) -> None:
    note(yaml.safe_dump_all(objects))
    ovn.hold(compiled(objects))
    objects = without_tiers(objects)
    asked = _some(questions(objects))
    answers = _first_packets(ovn, asked, "new")
    for question, out in zip(asked, answers, strict=True):
        assert _possible(question.expected(objects), out), f"{question}: expected {question.expected(objects)}: {out}"
    passed = [question for question, out in zip(asked, answers, strict=True) if out and not question.through_service]
    _replies_pass(ovn, passed)
    _open_connections_are_decided_as_new_ones(ovn, asked, answers)


def test_thousands_of_blocks_are_exact(ovn: Scratch) -> None:
    """3,000 networks without a part of each; asked at the edges of some."""
    places = [(number >> 8, number & 255) for number in range(3000)]
    peers = [
        {"ipBlock": {"cidr": f"198.{18 + high}.{low}.0/25", "except": [f"198.{18 + high}.{low}.32/28"]}}
        for high, low in places
    ]
    web = {
        **manifest("v1", "Pod", "web", namespace="shop", uid="1", labels={}),
        "spec": {"nodeName": "n1", "hostNetwork": False},
    }
    web["status"] = {"phase": "Running", "podIPs": [{"ip": "10.244.1.3"}, {"ip": "fd00:10:244:1::3"}]}
    policy = manifest("networking.k8s.io/v1", "NetworkPolicy", "blocks", namespace="shop")
    objects = [manifest("v1", "Namespace", "shop"), node("n1"), web]
    objects.append({**policy, "spec": {"podSelector": {}, "ingress": [{"from": peers}]}})
    target = Place(End(web, "10.244.1.3"), "n1", "shop/web")
    asked = [
        Question(
            Place(End(None, f"198.{18 + high}.{low}.{last}"), "n1", "node:n1"), (target,), "TCP", "10.244.1.3", 80, 80
        )
        for high, low in random.Random(0).sample(places, 20)
        for last in (0, 31, 32, 47, 48, 127, 128, 255)
    ]
    ovn.hold(compiled(objects))
    answers = _first_packets(ovn, asked, "new")
    assert [bool(out) for out in answers] == [question.expected(objects)["shop/web"] for question in asked]
    assert [bool(out) for out in answers[:8]] == [True, True, False, False, True, True, False, False]


def _first_packets(ovn: Scratch, asked: list[Question], state: str) -> list[set[str]]:
    """Where each comes out, of a connection in that state."""
    with ovn.tracing(state, LOOKUPS_A_CONNECTION * len(asked)) as ask:
        return [microflows.outputs(ask(microflows.first(question))) for question in asked]


def _some(everything: list[Question]) -> list[Question]:
    """All that go to Services, and as many others as there is time for."""
    balanced = [question for question in everything if question.through_service]
    direct = [question for question in everything if not question.through_service]
    return [*balanced, *random.Random(0).sample(direct, min(QUESTIONS_A_CLUSTER, len(direct)))]


def _possible(expected: dict[str, bool], out: set[str]) -> bool:
    """Whether the packet came out at one target that it may reach, or nowhere where there is one it may not."""
    if not out:
        return not all(expected.values())
    return len(out) == 1 and expected.get(next(iter(out)), False)


def _replies_pass(ovn: Scratch, passed: list[Question]) -> None:
    """Whatever is isolated, and however: the answer to a connection that came about gets back."""
    with ovn.tracing("est,rpl", LOOKUPS_A_CONNECTION * len(passed)) as ask:
        for question in passed:
            out = microflows.outputs(ask(microflows.reply(question)))
            assert out == {question.source.port}, f"no reply to {question}: {out}"


def _open_connections_are_decided_as_new_ones(ovn: Scratch, asked: list[Question], answers: list[set[str]]) -> None:
    """What nothing allows any more is cut, and nothing else. Load balancers leave open connections alone."""
    direct = {number: question for number, question in enumerate(asked) if not question.through_service}
    opened = _first_packets(ovn, list(direct.values()), "est")
    for (number, question), out in zip(direct.items(), opened, strict=True):
        assert out == answers[number], f"{question} was open: {out}; new it is {answers[number]}"
