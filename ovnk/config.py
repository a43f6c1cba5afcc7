"""Settings of a daemon: defaults, then a TOML file, then the environment, then flags; checked at start.

A daemon states its settings as a msgspec Struct; this module fills one and says which key of which source is
wrong. It knows no daemon and no setting by name.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ovnk.errors import ConfigError

PREFIX = "OVNK_"

Settings = TypeVar("Settings", bound=msgspec.Struct)


def load(
    kind: type[Settings],
    section: str,
    flags: Mapping[str, object],
    file: Path | None,
    environ: Mapping[str, str],
) -> Settings:
    """The settings of `kind`: defaults < TOML table [`section`] < environment OVNK_<FIELD> < `flags` that are not None.

    Lists may be given as one comma separated text anywhere. Raises ConfigError, naming the key and where it stands,
    for an unknown key, a wrong type or value, a missing required setting, and for a file that cannot be read.
    """
    values: dict[str, object] = {}
    origin: dict[str, str] = {}
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    for name, value in _from_file(section, file).items():
        field = name.replace("-", "_")
        if field not in fields:
            raise ConfigError(f'{file}: [{section}] has no key "{name}"; known keys: {", ".join(sorted(fields))}')
        values[field], origin[field] = value, f"{file}: [{section}] {name}"
    for field in fields:
        if (text := environ.get(PREFIX + field.upper())) is not None:
            values[field], origin[field] = text, f"environment {PREFIX}{field.upper()}"
    for field, value in flags.items():
        if value is not None:
            values[field], origin[field] = value, f"--{field.replace('_', '-')}"
    for field, value in values.items():
        values[field] = _convert(fields[field].type, value, origin[field])
    missing = [name for name, field in fields.items() if field.required and name not in values]
    if missing:
        name = missing[0]
        raise ConfigError(
            f"{name} is not set; give --{name.replace('_', '-')}, {PREFIX}{name.upper()}, or {name} in "
            f"[{section}] of the configuration file"
        )
    try:
        return kind(**values)
    except ConfigError as error:
        named = [origin[field] for field in origin if re.search(rf"\b{field.replace('_', '[-_]')}\b", str(error))]
        raise ConfigError(f"{error} (given by {', '.join(named)})" if named else str(error)) from error


def _from_file(section: str, file: Path | None) -> dict[str, object]:
    if file is None:
        return {}
    try:
        document = tomllib.loads(file.read_text())
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is not TOML: {error}") from error
    if document and section not in document:
        raise ConfigError(f"{file}: has no table [{section}]; its tables: {', '.join(sorted(document))}")
    table = document.get(section, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{file}: {section} must be a table, written [{section}]")
    return table


def _convert(kind: Any, value: object, origin: str) -> object:
    """The value as the field's type, texts read as the environment gives them ("true", "24", "a,b")."""
    if isinstance(value, str) and getattr(kind, "__origin__", None) is tuple:
        value = [part.strip() for part in value.split(",") if part.strip()]
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{origin}: {value!r} cannot be used: {str(error)[0].lower()}{str(error)[1:]}") from error
