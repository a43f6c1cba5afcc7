"""CustomResourceDefinitions, made from the very types the code reads and writes: `python -m ovnk.kube.crds`.

msgspec gives JSON Schema; kube-apiserver takes only structural schemas (apiextensions.k8s.io/v1, "Specifying a
structural schema"): every part has a type, nothing is referred to, "or null" is `nullable`. A keyword that this
module does not know is an error here rather than a refusal there. A test keeps deploy/crds current.
"""

import inspect
import re
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from ovnk import contract
from ovnk.kube import pool_objects

FOLDER = Path(__file__).parents[2] / "deploy" / "crds"


class Definition(Struct, frozen=True):
    """A kind of ours. `columns` are what `kubectl get` shows: name → JSONPath of a text."""

    kind: str
    plural: str
    short: str
    spec: type
    description: str
    columns: dict[str, str]
    # What the controller says of it, through the status subresource; None where there is nothing to say.
    status: type | None = None


DEFINITIONS = (
    Definition(
        kind=contract.KIND,
        plural=contract.PLURAL,
        short="nnet",
        spec=contract.NodeNetworkSpec,
        description="What a node's agent needs to know. Written by ovnk's controller alone, one a Node, by its name.",
        columns={"Subnet": ".spec.subnets[0].cidr", "Management": ".spec.management.addresses"},
    ),
    Definition(
        kind=pool_objects.KIND,
        plural=pool_objects.PLURAL,
        short="apool",
        spec=pool_objects.AddressPoolSpec,
        description="External addresses for Services of type LoadBalancer, in a cluster without a cloud.",
        columns={
            "Addresses": ".spec.addresses",
            "Auto": ".spec.autoAssign",
            "Available": ".status.conditions[0].status",
            "Use": ".status.conditions[0].message",
        },
        status=pool_objects.AddressPoolStatus,
    ),
)


def manifest(definition: Definition) -> dict[str, Any]:
    """The CustomResourceDefinition as `kubectl apply` takes it."""
    schema = {
        "type": "object",
        "description": definition.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(definition.spec),
            **({"status": structural(definition.status)} if definition.status else {}),
        },
    }
    columns = [{"name": name, "type": "string", "jsonPath": path} for name, path in definition.columns.items()]
    columns.append({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"})
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{definition.plural}.{contract.GROUP}"},
        "spec": {
            "group": contract.GROUP,
            "scope": "Cluster",
            "names": {
                "kind": definition.kind,
                "listKind": f"{definition.kind}List",
                "plural": definition.plural,
                "singular": definition.kind.lower(),
                "shortNames": [definition.short],
            },
            "versions": [
                {
                    "name": contract.VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    "additionalPrinterColumns": columns,
                    **({"subresources": {"status": {}}} if definition.status else {}),
                }
            ],
        },
    }


def structural(kind: type) -> dict[str, Any]:
    """The structural schema of a Struct. Raises ValueError for a type that has none (a union, for one)."""
    (root,), definitions = msgspec.json.schema_components([kind])
    return _structural(root, definitions, kind.__name__)


# What means the same in both: JSON Schema as msgspec writes it, and OpenAPI v3.0 as the API server reads it.
_KEPT = ("type", "pattern", "enum", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")


def _structural(schema: dict[str, Any], definitions: dict[str, Any], where: str) -> dict[str, Any]:
    nullable, schema = _without_null(schema, where)
    if reference := schema.get("$ref"):
        schema = definitions[reference.rpartition("/")[2]] | {k: v for k, v in schema.items() if k != "$ref"}
    result: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword in _KEPT:
            result[keyword] = value
        elif keyword == "description":
            result[keyword] = _description(value)
        elif keyword == "items":
            result[keyword] = _structural(value, definitions, f"{where}[]")
        elif keyword == "properties":
            result[keyword] = {n: _structural(part, definitions, f"{where}.{n}") for n, part in value.items()}
        elif keyword == "additionalProperties":
            result[keyword] = _structural(value, definitions, f"{where}.*")
        elif keyword == "required":
            if value:
                result[keyword] = list(value)
        elif keyword == "default":
            # The API server writes defaults into what it stores; an absent list or part shall stay absent.
            if isinstance(value, str | int | float):
                result[keyword] = value
        elif keyword != "title":
            raise ValueError(f'{where}: the keyword "{keyword}" has no place in a structural schema')
    if "type" not in result:
        raise ValueError(f"{where}: has no type, which a structural schema demands")
    return result | ({"nullable": True} if nullable else {})


def _description(docstring: str) -> str:
    """One line, with the fields called as they are on the wire: `mtu_bytes` → `mtuBytes`."""
    line = " ".join(inspect.cleandoc(docstring).split())
    return re.sub(r"(?<=[`a-z])_([a-z])(?=[a-z_]*`)", lambda found: found[1].upper(), line)


def _without_null(schema: dict[str, Any], where: str) -> tuple[bool, dict[str, Any]]:
    """Whether it may be null, and what else it is."""
    choices = schema.get("anyOf")
    if choices is None:
        return False, schema
    others = [choice for choice in choices if choice != {"type": "null"}]
    if len(others) != 1 or len(choices) != 2:
        raise ValueError(f"{where}: one type or null can be said in a structural schema, {choices} cannot")
    rest = {keyword: value for keyword, value in schema.items() if keyword != "anyOf"}
    return True, others[0] | rest


def text(definition: Definition) -> str:
    """The file's content."""
    head = "# Made by `python -m ovnk.kube.crds` from the types in ovnk; do not edit.\n"
    return head + yaml.safe_dump(manifest(definition), sort_keys=False, width=120)


def file(definition: Definition) -> Path:
    """Where the definition is kept."""
    return FOLDER / f"{contract.GROUP}_{definition.plural}.yaml"


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for each in DEFINITIONS:
        file(each).write_text(text(each))
        print(file(each))
