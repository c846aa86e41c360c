"""All wrappers that the conformance suite looks at, by name."""

import contextlib
from typing import Dict

import isaac_gym_stand_in
import isaac_lab_stand_in
import maniskill_stand_in
import pettingzoo_stand_in
import rsl_rl_stand_in
from case import Case

CASES: Dict[str, Case] = {
    **isaac_gym_stand_in.CASES,
    **rsl_rl_stand_in.CASES,
    **isaac_lab_stand_in.CASES,
    **maniskill_stand_in.CASES,
    **pettingzoo_stand_in.CASES,
}
with contextlib.suppress(ImportError):
    # JAX is not to be had for every Python.
    import brax_stand_in

    CASES.update(brax_stand_in.CASES)
