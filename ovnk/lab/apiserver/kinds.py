"""The built-in kinds: a table, and the value every kind, built in or custom, is described by.

What a kind does beyond being stored (defaults, validation, columns) is said elsewhere, by its `kind` name; custom
resources join at run time through registry.py.
"""

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

READ_WRITE: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
CREATE_ONLY: Final = ("create",)


class Resource(NamedTuple):
    """Where objects are stored: versions of one group and plural share it, and so do both groups' Events."""

    group: str
    plural: str


@dataclass(frozen=True, slots=True)
class Column:
    """One additionalPrinterColumn of a custom resource; `path` is its jsonPath. Priority > 0 shows with -o wide."""

    name: str
    type: str
    path: str
    format: str = ""
    description: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One served kind, equal to itself alone.

    `definition` names its built-in schema; a custom kind has none and carries its openAPIV3Schema in `schema`.
    """

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = READ_WRITE
    storage: Resource = field(default=Resource("", ""))
    singular: str = ""
    list_kind: str = ""
    definition: str = ""
    schema: dict[str, Any] | None = None
    columns: tuple[Column, ...] | None = None
    # jsonPaths of a custom resource's scale: {"spec": ".spec.replicas", "status": …, "selector": …}
    scale_paths: dict[str, str] | None = None
    # Field selectors a custom resource allows beyond its name: {"spec.colour"}
    selectable_fields: frozenset[str] = frozenset()
    # The storage version of a custom resource, when this is another one of it.
    preferred: bool = True

    @property
    def api_version(self) -> str:
        """Group and version in one: "v1", "apps/v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """As in "pods", "deployments.apps": how error messages name the resource."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def custom(self) -> bool:
        """Whether a CustomResourceDefinition defines it."""
        return not self.definition

    @property
    def path(self) -> str:
        """As in "/api/v1", "/apis/apps/v1": the group version's root."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"


class _Definition(NamedTuple):
    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool
    short_names: str = ""
    subresources: str = ""
    categories: str = ""
    verbs: tuple[str, ...] = READ_WRITE
    storage: Resource | None = None


_AUTHN: Final = "authentication.k8s.io"
_AUTHZ: Final = "authorization.k8s.io"
_RBAC: Final = "rbac.authorization.k8s.io"

_TABLE: Final = (
    _Definition("", "v1", "bindings", "Binding", True, verbs=CREATE_ONLY),
    _Definition("", "v1", "configmaps", "ConfigMap", True, "cm"),
    _Definition("", "v1", "endpoints", "Endpoints", True, "ep"),
    _Definition("", "v1", "events", "Event", True, "ev"),
    _Definition("", "v1", "limitranges", "LimitRange", True, "limits"),
    _Definition("", "v1", "namespaces", "Namespace", False, "ns", "status finalize"),
    _Definition("", "v1", "nodes", "Node", False, "no", "status"),
    _Definition("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", True, "pvc", "status"),
    _Definition("", "v1", "persistentvolumes", "PersistentVolume", False, "pv", "status"),
    _Definition("", "v1", "pods", "Pod", True, "po", "status binding eviction", "all"),
    _Definition("", "v1", "podtemplates", "PodTemplate", True),
    _Definition("", "v1", "replicationcontrollers", "ReplicationController", True, "rc", "status scale", "all"),
    _Definition("", "v1", "resourcequotas", "ResourceQuota", True, "quota", "status"),
    _Definition("", "v1", "secrets", "Secret", True),
    _Definition("", "v1", "serviceaccounts", "ServiceAccount", True, "sa"),
    _Definition("", "v1", "services", "Service", True, "svc", "status", "all"),
    _Definition(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        False,
        "crd crds",
        "status",
        "api-extensions",
    ),
    _Definition("apps", "v1", "controllerrevisions", "ControllerRevision", True),
    _Definition("apps", "v1", "daemonsets", "DaemonSet", True, "ds", "status", "all"),
    _Definition("apps", "v1", "deployments", "Deployment", True, "deploy", "status scale", "all"),
    _Definition("apps", "v1", "replicasets", "ReplicaSet", True, "rs", "status scale", "all"),
    _Definition("apps", "v1", "statefulsets", "StatefulSet", True, "sts", "status scale", "all"),
    _Definition(_AUTHN, "v1", "selfsubjectreviews", "SelfSubjectReview", False, verbs=CREATE_ONLY),
    _Definition(_AUTHN, "v1", "tokenreviews", "TokenReview", False, verbs=CREATE_ONLY),
    _Definition(_AUTHZ, "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview", True, verbs=CREATE_ONLY),
    _Definition(_AUTHZ, "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False, verbs=CREATE_ONLY),
    _Definition(_AUTHZ, "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", False, verbs=CREATE_ONLY),
    _Definition(_AUTHZ, "v1", "subjectaccessreviews", "SubjectAccessReview", False, verbs=CREATE_ONLY),
    _Definition(
        "autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", True, "hpa", "status", "all"
    ),
    _Definition("batch", "v1", "cronjobs", "CronJob", True, "cj", "status", "all"),
    _Definition("batch", "v1", "jobs", "Job", True, "", "status", "all"),
    _Definition("coordination.k8s.io", "v1", "leases", "Lease", True),
    _Definition("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", True),
    _Definition("events.k8s.io", "v1", "events", "Event", True, "ev", storage=Resource("", "events")),
    _Definition("networking.k8s.io", "v1", "ingressclasses", "IngressClass", False),
    _Definition("networking.k8s.io", "v1", "ingresses", "Ingress", True, "ing", "status"),
    _Definition("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", True, "netpol"),
    _Definition("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", True, "pdb", "status"),
    _Definition(_RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", False),
    _Definition(_RBAC, "v1", "clusterroles", "ClusterRole", False),
    _Definition(_RBAC, "v1", "rolebindings", "RoleBinding", True),
    _Definition(_RBAC, "v1", "roles", "Role", True),
    _Definition("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", False, "pc"),
    _Definition("storage.k8s.io", "v1", "storageclasses", "StorageClass", False, "sc"),
)


def _kind(row: _Definition) -> Kind:
    package = "io.k8s.api." + (row.group.removesuffix(".k8s.io").removesuffix(".authorization") or "core")
    if row.group == "apiextensions.k8s.io":
        package = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions"
    return Kind(
        group=row.group,
        version=row.version,
        plural=row.plural,
        kind=row.kind,
        namespaced=row.namespaced,
        short_names=tuple(row.short_names.split()),
        subresources=frozenset(row.subresources.split()),
        categories=tuple(row.categories.split()),
        verbs=row.verbs,
        storage=row.storage or Resource(row.group, row.plural),
        singular=row.kind.lower(),
        list_kind=f"{row.kind}List",
        definition=f"{package}.{row.version}.{row.kind}",
    )


BUILT_IN: Final[tuple[Kind, ...]] = tuple(_kind(row) for row in _TABLE)

_BY_NAME: Final = {(kind.group, kind.plural): kind for kind in BUILT_IN}


def built_in(plural: str, group: str = "") -> Kind:
    """The built-in kind of that plural and group; KeyError means a typo of ours."""
    return _BY_NAME[group, plural]
