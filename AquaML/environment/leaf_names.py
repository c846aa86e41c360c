"""AquaML's names for what a simulator calls otherwise, and where each leaf stands in the simulator's own nesting."""

import dataclasses
from typing import Any, Dict, List, Mapping, Optional, Tuple

from AquaML.environment.spaces import SpaceLayout, Structure, join_names
from AquaML.errors import SpaceError, did_you_mean


def rename_leaves(layout: SpaceLayout, usual: Mapping[str, str], names: Optional[Mapping[str, str]]) -> SpaceLayout:
    """Give leaves AquaML's names; how they nest in the simulator stays as it is.

    Args:
        layout: The space with the simulator's names.
        usual: Their name to ours as far as there; a name stands for a leaf or for a whole group (``"policy"`` also for
            ``"policy/joints"``).
        names: What the user wants instead, or besides; each must be there.

    Raises:
        SpaceError: A name of ``names`` is unknown, or two leaves end up with the same name.
    """
    groups = set(layout.specs) | {leaf[:place] for leaf in layout.specs for place in _slashes(leaf)}
    for theirs in names or {}:
        if theirs not in groups:
            raise SpaceError("names: there is no observation '{}'.{}".format(theirs, did_you_mean(theirs, groups)))
    wanted = dict(usual, **(names or {}))
    ours = {leaf: _renamed(leaf, wanted) for leaf in layout.specs}
    taken: Dict[str, str] = {}
    for leaf, name in ours.items():
        if name in taken:
            raise SpaceError(
                "Both '{}' and '{}' would be called '{}'; tell them apart with names={{theirs: ours}}.".format(
                    taken[name], leaf, name
                )
            )
        taken[name] = leaf
    specs = {ours[leaf]: dataclasses.replace(spec, name=ours[leaf]) for leaf, spec in layout.specs.items()}
    return SpaceLayout(specs, _renamed_structure(layout.structure, ours))


def _slashes(leaf: str) -> List[int]:
    return [place for place, character in enumerate(leaf) if character == "/"]


def _renamed(leaf: str, names: Mapping[str, str]) -> str:
    for place in [len(leaf)] + _slashes(leaf)[::-1]:
        if leaf[:place] in names:
            return names[leaf[:place]] + leaf[place:]
    return leaf


def _renamed_structure(structure: Structure, ours: Mapping[str, str]) -> Structure:
    if isinstance(structure, str):
        return ours[structure]
    items = {key: _renamed_structure(part, ours) for key, part in structure["items"].items()}
    return {"kind": structure["kind"], "items": items}


def leaf_paths(structure: Structure) -> List[Tuple[str, Tuple[Any, ...]]]:
    """Return each leaf's name and the keys that lead to it in the simulator's own nesting."""
    if isinstance(structure, str):
        return [(structure, ())]
    as_key = int if structure["kind"] == "Tuple" else str
    return [
        (leaf, (as_key(key),) + path) for key, part in structure["items"].items() for leaf, path in leaf_paths(part)
    ]


def flat_layout(layout: SpaceLayout) -> SpaceLayout:
    """Return the leaves without the simulator's nesting: by their names, or bare where there is but one."""
    if len(layout.specs) == 1:
        return SpaceLayout(layout.specs, next(iter(layout.specs)))
    return SpaceLayout(layout.specs, {"kind": "Dict", "items": {name: name for name in layout.specs}})


def at_path(value: Any, path: Tuple[Any, ...]) -> Any:
    """Return what stands at the end of a path, in dictionaries, TensorDicts or tuples.

    Raises:
        SpaceError: A key is missing.
    """
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError) as error:
            known = join_names(value.keys()) if hasattr(value, "keys") else type(value).__name__
            raise SpaceError("there is no '{}', only {}".format(key, known)) from error
    return value
