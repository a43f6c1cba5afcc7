"""The errors that have a name: who is at fault decides the class (anything else that is raised is a bug of ours)."""


class InvalidObject(Exception):  # noqa: N818  it names the thing, as the field does
    """The user's object cannot be used; it is treated as absent until it changes, and the rest goes on.

    `kind`, `key` ("namespace/name" or "name") and `field` (a path such as "spec.podCIDRs[0]") say where;
    `why` says what is wrong and what now, lower case, values quoted. `uid` is the object's, where it is known: an
    Event without it is not shown by `kubectl describe`.
    """

    def __init__(self, kind: str, key: str, field: str, why: str, uid: str = "") -> None:
        super().__init__(f"{kind} {key}: {field} {why}")
        self.kind, self.key, self.field, self.why, self.uid = kind, key, field, why, uid


class Conflict(Exception):  # noqa: N818  it names the thing, too
    """Two functions yielded one row with different columns: a bug of ours, found by tests."""


class CommitError(Exception):
    """The database refused a transaction, or its outcome is unknown."""


class ConfigError(Exception):
    """A flag, environment variable or TOML key is wrong; the message names it."""


class LabError(Exception):
    """The one-machine cluster did not start, or cannot do what was asked of it; the message says why."""
