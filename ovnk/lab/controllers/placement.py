"""Where a Pod may run: the scheduler's filters as pure functions, each refusal in kube-scheduler's own words.

Filters: unschedulable nodes, nodeName, nodeSelector, required node affinity, taints, hostPorts, required pod
affinity and anti-affinity, topology spread with DoNotSchedule. Among the nodes left, the one with the fewest Pods
of the same labels, then the fewest at all. No resources are counted (a lab's nodes have none), no preferred terms.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ovnk.lab.controllers import labels, pods
from ovnk.lab.controllers.resources import Object, deleting, labels_of, name_of, namespace_of

HOSTNAME = "kubernetes.io/hostname"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"


@dataclass(frozen=True, slots=True)
class Nodes:
    """The nodes by name, the Pods bound to each, and the labels of each namespace (for namespaceSelector).

    `guarded` are the bound Pods with an anti-affinity of their own; few have one, and all the others need no look.
    """

    nodes: Mapping[str, Object]
    bound: Mapping[str, Sequence[Object]]
    guarded: Sequence[Object]
    namespaces: Mapping[str, Mapping[str, str]]


def place(pod: Object, nodes: Nodes) -> tuple[str, str]:
    """(node, "") where the Pod shall run, or ("", why no node will have it)."""
    refused: Counter[str] = Counter()
    fitting: list[str] = []
    for name, node in nodes.nodes.items():
        why = node_refuses(pod, node) or _ports_refuse(pod, nodes.bound.get(name, ()))
        why = why or _affinity_refuses(pod, node, nodes) or _spread_refuses(pod, node, nodes)
        if why:
            refused[why] += 1
        else:
            fitting.append(name)
    if not fitting:
        reasons = ", ".join(f"{count} {why}" for why, count in sorted(refused.items()))
        return "", f"0/{len(nodes.nodes)} nodes are available" + (f": {reasons}." if reasons else ".")
    same = {"matchLabels": labels_of(pod)}

    def crowd(name: str) -> tuple[int, int, str]:
        bound = nodes.bound.get(name, ())
        return _alike(pod, same, bound), len(bound), name

    return min(fitting, key=crowd), ""


def node_refuses(pod: Object, node: Object) -> str:
    """Why the node by itself will not have the Pod, "" when it will: what a DaemonSet asks too."""
    spec = pod["spec"]
    if not labels.includes(spec.get("nodeSelector") or {}, labels_of(node)) or not _affine(spec, node):
        return "node(s) didn't match Pod's node affinity/selector"
    tolerations = spec.get("tolerations") or ()
    for taint in taints_of(node):
        if taint["effect"] != "PreferNoSchedule" and not any(tolerates(entry, taint) for entry in tolerations):
            if taint["key"] == UNSCHEDULABLE:
                return "node(s) were unschedulable"
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    return ""


def taints_of(node: Object) -> list[Object]:
    """The node's taints, with the one that spec.unschedulable stands for."""
    spec = node.get("spec") or {}
    taints: list[Object] = list(spec.get("taints") or ())
    if spec.get("unschedulable") and not any(taint["key"] == UNSCHEDULABLE for taint in taints):
        taints.append({"key": UNSCHEDULABLE, "effect": "NoSchedule"})
    return taints


def tolerates(toleration: Object, taint: Object) -> bool:
    """Whether a toleration lets a Pod bear a taint (core/v1 Toleration: an empty key or effect means any)."""
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and (toleration.get("value") or "") == (taint.get("value") or "")


def _affine(spec: Object, node: Object) -> bool:
    """Whether one of the required node affinity's terms is met; a term that asks for nothing is never met."""
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    fields = {"metadata.name": name_of(node)}
    return any(
        (term.get("matchExpressions") or term.get("matchFields"))
        and all(labels.meets(entry, labels_of(node)) for entry in term.get("matchExpressions") or ())
        and all(labels.meets(entry, fields) for entry in term.get("matchFields") or ())
        for term in required["nodeSelectorTerms"]
    )


def _ports_refuse(pod: Object, bound: Sequence[Object]) -> str:
    wanted = _host_ports(pod)
    if not wanted:
        return ""
    for other in bound:
        for port, protocol, ip in _host_ports(other):
            for own_port, own_protocol, own_ip in wanted:
                same_address = ip == own_ip or "0.0.0.0" in (ip, own_ip)
                if (port, protocol) == (own_port, own_protocol) and same_address:
                    return "node(s) didn't have free ports for the requested pod ports"
    return ""


def _host_ports(pod: Object) -> list[tuple[int, str, str]]:
    if pods.finished(pod):
        return []
    return [
        (port["hostPort"], port.get("protocol", "TCP"), port.get("hostIP") or "0.0.0.0")
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or ()
        if port.get("hostPort")
    ]


def _affinity_refuses(pod: Object, node: Object, nodes: Nodes) -> str:
    """Required pod affinity, and anti-affinity in both directions: the Pods that are there have theirs too."""
    for term in _terms(pod, "podAffinity"):
        others = [other for other in _in_domain(term, node, nodes) if _matches(term, pod, other, nodes)]
        if not others and not _first_of_its_kind(term, pod, node, nodes):
            return "node(s) didn't match pod affinity rules"
    for term in _terms(pod, "podAntiAffinity"):
        if any(_matches(term, pod, other, nodes) for other in _in_domain(term, node, nodes)):
            return "node(s) didn't match pod anti-affinity rules"
    for other in nodes.guarded:
        for term in _terms(other, "podAntiAffinity"):
            domain = _domain(term, nodes.nodes.get(pods.node_of(other)))
            if domain is not None and domain == _domain(term, node) and _matches(term, other, pod, nodes):
                return "node(s) didn't satisfy existing pods anti-affinity rules"
    return ""


def guards(pod: Object) -> bool:
    """Whether the Pod has a required anti-affinity."""
    return bool(_terms(pod, "podAntiAffinity"))


def _terms(pod: Object, kind: str) -> list[Object]:
    affinity = (pod["spec"].get("affinity") or {}).get(kind) or {}
    return affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or []


def _domain(term: Object, node: Object | None) -> str | None:
    return labels_of(node).get(term.get("topologyKey", HOSTNAME)) if node else None


def _in_domain(term: Object, node: Object, nodes: Nodes) -> list[Object]:
    """The Pods on nodes that have the term's topology key with this node's value."""
    domain = _domain(term, node)
    if domain is None:
        return []
    return [
        pod for name, found in nodes.bound.items() if _domain(term, nodes.nodes.get(name)) == domain for pod in found
    ]


def _matches(term: Object, owner: Object, other: Object, nodes: Nodes) -> bool:
    """Whether a term of `owner` means the Pod `other`: by its labels, in the namespaces that the term names."""
    if deleting(other) or pods.finished(other):
        return False
    namespace = namespace_of(other)
    named = term.get("namespaces") or ()
    if named or term.get("namespaceSelector") is not None:
        selected = labels.selects(term.get("namespaceSelector"), nodes.namespaces.get(namespace, {}))
        if namespace not in named and not selected:
            return False
    elif namespace != namespace_of(owner):
        return False
    return labels.selects(term.get("labelSelector"), labels_of(other))


def _first_of_its_kind(term: Object, pod: Object, node: Object, nodes: Nodes) -> bool:
    """Whether the Pod asks for company of its own kind and there is none anywhere: or no such Pod could ever start."""
    anywhere = any(_matches(term, pod, other, nodes) for bound in nodes.bound.values() for other in bound)
    return not anywhere and _domain(term, node) is not None and _matches(term, pod, pod, nodes)


def _spread_refuses(pod: Object, node: Object, nodes: Nodes) -> str:
    for constraint in pod["spec"].get("topologySpreadConstraints") or ():
        if constraint.get("whenUnsatisfiable", "DoNotSchedule") != "DoNotSchedule":
            continue
        domain = _domain(constraint, node)
        if domain is None:
            return "node(s) didn't match pod topology spread constraints (missing required label)"
        counts: Counter[str] = Counter()
        for name, candidate in nodes.nodes.items():
            found = _domain(constraint, candidate)
            if found is not None and _affine(pod["spec"], candidate):
                counts[found] += _alike(pod, constraint.get("labelSelector"), nodes.bound.get(name, ()))
        itself = labels.selects(constraint.get("labelSelector"), labels_of(pod))
        if counts[domain] + itself - min(counts.values()) > constraint["maxSkew"]:
            return "node(s) didn't match pod topology spread constraints"
    return ""


def _alike(pod: Object, selector: Object | None, bound: Sequence[Object]) -> int:
    """How many of the Pods are of this one's namespace and selected."""
    namespace = namespace_of(pod)
    return sum(
        namespace_of(other) == namespace and not deleting(other) and labels.selects(selector, labels_of(other))
        for other in bound
    )
