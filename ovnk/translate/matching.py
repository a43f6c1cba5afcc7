"""Matching: which selections are about which pods, found so that a change costs what it concerns (selection_values.py).

A selection and a label set are looked at together only where both have the same place and label: the namespace (or
ANYWHERE), and a label that the selection requires. So the cost of a new selector is the label sets with its label in
its namespaces; a selector that requires no label by value (Exists, NotIn, DoesNotExist) looks at all in its namespaces.
"""

from collections.abc import Iterator

from ovnk.incremental.graph import View
from ovnk.kube.objects import Namespace, Pod
from ovnk.translate import selectors
from ovnk.translate.selection_values import (
    ANYWHERE,
    Guarded,
    GuardedSet,
    LabelSet,
    Match,
    Matched,
    NamedUse,
    Reach,
    Selected,
    Selection,
)


def label_set(pod: Pod) -> tuple[LabelSet, ...]:
    """What selectors see of a pod that is on a node and not over: the index that makes label sets of pods."""
    return (LabelSet(pod.namespace, pod.labels),) if pod.node and not pod.finished else ()


def namespace_footholds(selection: Selection) -> list[selectors.Foothold]:
    """The index of selections that are about namespaces by their labels."""
    return selectors.footholds(selection.peers.namespaces) if selection.peers.namespaces else []


def reach_footholds(reach: Reach) -> list[tuple[str, selectors.Foothold]]:
    """The index of reaches by place and by a label that they ask for."""
    return [(reach.place, foothold) for foothold in selectors.footholds(reach.pods)]


def label_set_footholds(label_set: LabelSet) -> list[tuple[str, selectors.Foothold]]:
    """The index of label sets by all that a reach may look for."""
    return [(place, one) for place in (label_set.namespace, ANYWHERE) for one in selectors.labelled(label_set.labels)]


def reach(_view: View, selection: Selection) -> Iterator[Reach]:
    """Where a selection looks for pods, if it is about one namespace, or about every one."""
    peers = selection.peers
    if not peers.namespaces:
        yield Reach(selection.key, peers.namespace or ANYWHERE, peers.pods)


def reach_by_labels(_view: View, selection: Selection, namespace: Namespace) -> Iterator[Reach]:
    """A namespace in which a selection looks for pods, if that has the labels."""
    if selectors.matches(selection.peers.namespaces or (), dict(namespace.labels)):
        yield Reach(selection.key, namespace.name, selection.peers.pods)


def match(_view: View, reach: Reach, label_set: LabelSet) -> Iterator[Match]:
    """Whether the selection is about pods of that label set."""
    if selectors.matches(reach.pods, dict(label_set.labels)):
        yield Match(reach.selection, label_set)


def selected(view: View, matched: Matched) -> Iterator[Selected]:
    """What all policies together want of the pods of a label set. Linear in the selections that match it."""
    found = sorted(match.selection for match in view.by(Match, "label_set", matched.label_set))
    uses = sorted(use for selection in found for use in view.by(NamedUse, "selection", selection))
    yield Selected(matched.label_set, tuple(found), tuple(uses))


def guarded_set(view: View, matched: Matched) -> Iterator[GuardedSet]:
    """Whether any policy decides about what reaches the pods of a label set. Linear in the same."""
    if any(view.by(Guarded, "ingress", match.selection) for match in view.by(Match, "label_set", matched.label_set)):
        yield GuardedSet(matched.label_set)
