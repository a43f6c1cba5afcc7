"""Server-side printing: the columns `kubectl get` shows, as a real API server computes them (meta.k8s.io/v1 Table).

Built-in kinds have their columns in columns.py, custom resources their additionalPrinterColumns; else it is name and
age.
"""

import re
from typing import Any, Final

from ovnk.lab.apiserver import columns
from ovnk.lab.apiserver.columns import Cell, Printed
from ovnk.lab.apiserver.kinds import Column, Kind

Object = dict[str, Any]


def table(kind: Kind, objects: list[Object], version: str, *, include: str = "Metadata") -> Object:
    """The Table of these objects. `include` is what each row carries: "Metadata", "Object" or "None"."""
    definitions, cells = _columns(kind)
    rows = []
    for value in objects:
        row: Object = {"cells": [cell(value) for cell in cells]}
        if include == "Object":
            row["object"] = value
        elif include != "None":
            row["object"] = partial(value)
        rows.append(row)
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": definitions,
        "rows": rows,
    }


def partial(value: Object) -> Object:
    """The object's metadata alone (PartialObjectMetadata)."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": value["metadata"]}


def _columns(kind: Kind) -> tuple[list[Object], list[Cell]]:
    """(columnDefinitions, the cells' functions)."""
    printed = [Printed("Name", lambda value: value["metadata"]["name"])]
    if kind.custom:
        listed = kind.columns
        if listed is None:
            printed.append(columns.AGE)
        else:
            printed.extend(Printed(one.name, _custom_cell(one), one.priority > 0, one.type) for one in listed)
    else:
        printed.extend(columns.of(kind))
    definitions = [
        {
            "name": one.name,
            "type": one.type,
            "format": "name" if one.name == "Name" else "",
            "description": "",
            "priority": 1 if one.wide else 0,
        }
        for one in printed
    ]
    return definitions, [one.cell for one in printed]


_PATH_PART: Final = re.compile(r"\.?(?:([^.\[\]\\]+(?:\\.[^.\[\]\\]*)*)|\[(\d+)\]|\[['\"](.+?)['\"]\])")


def _custom_cell(column: Column) -> Cell:
    parts = [match.groups() for match in _PATH_PART.finditer(column.path)]

    def cell(value: Object) -> Any:
        found: Any = value
        for name, index, quoted in parts:
            if index is not None:
                found = found[int(index)] if isinstance(found, list) and int(index) < len(found) else None
            else:
                key = (name or quoted).replace("\\", "")
                found = found.get(key) if isinstance(found, dict) else None
        if found is None:
            return ""
        return columns.since(found) if column.type == "date" else found

    return cell


def path_value(value: Object, path: str) -> Any:
    """The value at a simple JSON path such as ".spec.replicas", or None."""
    found: Any = value
    for part in path.strip(".").split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found
