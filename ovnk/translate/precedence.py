"""Where the rules of cluster-wide policies stand among each other, and so which priority their ACLs have.

    priority 0  Deny Pass Accept Deny Pass Accept …  priority 1  Deny Pass Accept …       a line a tier and direction
    first ──▶   slot 0                                                            ──▶ last

A rule takes the next slot of its action after the rule before it, so two rules of one slot do the same, and it does
not matter to OVN which of them it finds. Policies of one priority need no order between them for that: the API leaves
it open, here what denies comes first. Each priority has as many slots, a grid, so that a policy's place depends on
itself alone. Where that is too few for somebody, the priorities that are used are packed instead, each as high as it
must be; then a policy that comes may move those behind it.
"""

from collections.abc import Iterable, Iterator, Sequence

from ovnk.kube.policy_objects import Rule
from ovnk.translate import names
from ovnk.translate.cluster_policy_values import Height, Start

SLOTS = ("Deny", "Pass", "Accept")


def slots(rules: Sequence[Rule]) -> list[int]:
    """The slot of each rule. One that does as the rule before it stands beside it."""
    found: list[int] = []
    slot = -1
    before = ""
    for rule in rules:
        if rule.action != before:
            slot += 1 + (SLOTS.index(rule.action) - slot - 1) % len(SLOTS)
            before = rule.action
        found.append(slot)
    return found


def packed(heights: Iterable[Height]) -> Iterator[Start]:
    """Where each priority of each line begins, for the lines in which a priority is higher than the grid allows."""
    lines: dict[tuple[str, str], dict[int, int]] = {}
    for one in heights:
        line = lines.setdefault((one.tier, one.direction), {})
        line[one.priority] = max(line.get(one.priority, 0), one.slots)
    for (tier, direction), line in sorted(lines.items()):
        if max(line.values()) <= names.POLICY_BANDS[tier].slots:
            continue
        place = 0
        for priority, height in sorted(line.items()):
            yield Start(tier, direction, priority, place)
            place += height


def acl_priority(tier: str, priority: int, slot: int, start: int | None) -> int | None:
    """The ACL's priority, higher first; None where the band has no room for it. `start` is of a packed line."""
    band = names.POLICY_BANDS[tier]
    place = (priority * band.slots if start is None else start) + slot
    return band.first - place if place <= band.first - band.last else None
