"""The proof: in random clusters the compiled ACLs let through exactly what the policies' documentation says.

By a small OVN of ours (oracle/acls.py), which takes a millisecond; tests/proof asks the real one.
"""

import random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.oracle.acls import Acls
from tests.oracle.questions import Question, questions
from tests.oracle.random_clusters import clusters, compiled
from tests.oracle.tiers import without_tiers

QUESTIONS_A_CLUSTER = 100


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(clusters(), st.booleans())
def test_what_is_compiled_is_what_the_policies_say(objects: Any, tiers: bool) -> None:
    acls = Acls(compiled(objects, tiers))
    said = objects if tiers else without_tiers(objects)
    everything = questions(objects)
    for question in random.Random(0).sample(everything, min(QUESTIONS_A_CLUSTER, len(everything))):
        for target in question.targets:
            # A node's ports are looked at as any others; what OVN does beyond ACLs is not asked here.
            got = acls.passes(question.source.port, target.port, wire(question, target.end.address))
            assert got == question.expected(said)[target.port], question


def wire(question: Question, address: str) -> dict[str, Any]:
    """The packet as OVN sees it after load balancing: fields by name, predicates true."""
    version, protocol = 6 if ":" in address else 4, question.protocol.lower()
    name, protocol = f"ip{version}", f"icmp{version}" if protocol == "icmp" else protocol
    found = {"ip": True, name: True, f"{name}.src": question.source.end.address, f"{name}.dst": address}
    if protocol == "gre":
        return found | {"ip.proto": 47}
    return found | {protocol: True} | ({f"{protocol}.dst": question.target_port} if question.target_port else {})
