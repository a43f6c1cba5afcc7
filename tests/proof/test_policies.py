"""The proof: northd's logical flows for random clusters let through exactly what the policies' documentation says.

The compiled northbound of each goes into a real ovsdb-server and through a real ovn-northd, and ovn-trace is asked.
PROOF_CLUSTERS=2000 asks of so many; of a failure, hypothesis prints the smallest cluster it finds, whose objects are
a golden folder's cluster.yaml.
"""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.oracle.questions import Question, questions
from tests.oracle.random_clusters import clusters, compiled
from tests.proof import microflows
from tests.proof.scratch import Scratch, scratch

CLUSTERS = int(os.environ.get("PROOF_CLUSTERS", "100"))

pytestmark = [pytest.mark.system, pytest.mark.timeout(200 + CLUSTERS)]

QUESTIONS_A_CLUSTER = 150
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
    ovn.hold(compiled(objects))
    asked = _some(questions(objects))
    with ovn.tracing("new", LOOKUPS_A_CONNECTION * len(asked)) as ask:
        answers = [microflows.outputs(ask(microflows.first(question))) for question in asked]
    for question, out in zip(asked, answers, strict=True):
        assert _possible(question.expected(objects), out), f"{question}: expected {question.expected(objects)}: {out}"
    _replies_pass(ovn, [question for question, out in zip(asked, answers, strict=True) if out])


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


def _replies_pass(ovn: Scratch, questions: list[Question]) -> None:
    """Whatever is isolated, and however: the answer to a connection that came about gets back."""
    direct = [question for question in questions if not question.through_service]
    with ovn.tracing("est,rpl", LOOKUPS_A_CONNECTION * len(direct)) as ask:
        for question in direct:
            out = microflows.outputs(ask(microflows.reply(question)))
            assert out == {question.source.port}, f"no reply to {question}: {out}"
