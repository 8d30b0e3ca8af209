"""What all groups of settings have in common: each value knows its environment variable and its place."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

#: The names of the groups that lead to a value, then its variable: ("storage", "s3", "TALLYFRAME_S3_BUCKET").
Place = tuple[str, ...]


class Group(BaseModel):
    """Settings that belong together. The alias of a field is the environment variable that it is read from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def problems(self) -> list[str]:
        """Return a line for each thing that is missing or contradicts another. It names the variable to change."""
        return []


def keyword(variable: str) -> str:
    """Return how this code names a variable, as in `load_settings(lease_seconds=3)`: lower case, no TALLYFRAME_."""
    return variable.removeprefix("TALLYFRAME_").lower()


def leaves(group: BaseModel, *inside: str) -> Iterator[tuple[Place, object]]:
    """Yield each value of a group, and of the groups in it, with its place. `inside`: where the group itself is."""
    for name, field in type(group).model_fields.items():
        value = getattr(group, name)
        if isinstance(value, Group):
            yield from leaves(value, *inside, name)
        elif field.alias:
            yield (*inside, field.alias), value
        else:  # a dict of variables that have no field of their own
            yield from (((*inside, name, variable), each) for variable, each in value.items())


def nested(values: Mapping[Place, object]) -> dict[str, Any]:
    """Return the values as dicts in dicts, each in its place."""
    tree: dict[str, Any] = {}
    for (*inside, variable), value in values.items():
        branch = tree
        for name in inside:
            branch = branch.setdefault(name, {})
        branch[variable] = value
    return tree
