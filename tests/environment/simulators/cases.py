"""All wrappers that the conformance suite looks at, by name."""

from typing import Dict

import isaac_gym_stand_in
from case import Case

CASES: Dict[str, Case] = {**isaac_gym_stand_in.CASES}
