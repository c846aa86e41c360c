"""What a contender is asked to do: plain data that travels to its process as JSON."""

import dataclasses
import json
from typing import Any, Dict, Optional, Tuple

FREE = "free"
"""Name of the environment that costs nothing."""


@dataclasses.dataclass
class Specification:
    """One contender: who learns on what, and how long a unit of its work is."""

    name: str
    """How the tables call it."""

    kind: str
    """Which file of ``benchmarks/contenders`` builds it."""

    task: str = FREE
    """A Gymnasium id, or ``"free"``."""

    backend: str = "auto"
    """What steps the environments: AquaML's backend by name, or ``"default"`` for a peer's own documented one."""

    num_envs: int = 256
    """Number of environments."""

    rollout: int = 64
    """Vector steps between two updates."""

    mini_batches: int = 2
    """Minibatches per pass."""

    epochs: int = 4
    """Passes over a rollout."""

    hidden_sizes: Tuple[int, ...] = (256, 256)
    """Hidden layers of actor and critic each."""

    activation: str = "elu"
    """``"elu"``, ``"relu"`` or ``"tanh"``."""

    plain: bool = False
    """Whether everybody goes without normalisers and value clipping, which some have on by default and some not."""

    learning_rate: float = 3e-4
    """Constant step size of Adam."""

    discount: float = 0.99
    """Weight of a reward one step later."""

    iterations_per_unit: int = 1
    """Iterations (rollout and update) that are timed as one."""

    planned_iterations: int = 100
    """Length of the run that the library is told; the intervals at which it writes follow from it."""

    observation_size: int = 60
    """Of the free environment."""

    action_size: int = 8
    """Of the free environment."""

    compile: bool = False
    """Whether the library compiles, for those that can."""

    measure_rewards: bool = False
    """Whether replies carry the mean reward of a step; only for the check that everybody learns."""

    algorithm: str = "PPO"
    """``"PPO"``, ``"SAC"`` or ``"TD3"``."""

    batch: int = 0
    """Rows in a minibatch of an off-policy algorithm; 0: what rollout and ``mini_batches`` make."""

    warm_up: int = 0
    """Vector steps before the first update of an off-policy algorithm; they are over before the first timed unit."""

    seed: int = 0
    """Seed of weights, environments and actions."""

    @property
    def vector_steps(self) -> int:
        """Vector steps in a unit."""
        return self.rollout * self.iterations_per_unit

    @property
    def environment_steps(self) -> int:
        """Environment steps in a unit."""
        return self.vector_steps * self.num_envs

    @property
    def minibatch_size(self) -> int:
        """Rows in a minibatch."""
        return self.batch or self.rollout * self.num_envs // self.mini_batches

    @property
    def planned_vector_steps(self) -> int:
        """Vector steps of the run that the library is told."""
        return self.rollout * self.planned_iterations

    def parameters(self, observation_size: int, action_size: int) -> int:
        """Return how many parameters actor and critics have.

        PPO has one critic and a deviation that is the same everywhere; SAC and TD3 have two critics, which read actions
        as well.
        """
        both = observation_size + action_size
        if self.algorithm == "PPO":
            networks = [(observation_size, action_size), (observation_size, 1)]
        else:
            outputs = 2 * action_size if self.algorithm == "SAC" else action_size
            networks = [(observation_size, outputs), (both, 1), (both, 1)]
        total = action_size if self.algorithm == "PPO" else 0
        for first, last in networks:
            sizes = (first,) + tuple(self.hidden_sizes) + (last,)
            total += sum((inputs + 1) * outputs_ for inputs, outputs_ in zip(sizes, sizes[1:]))
        return total

    def to_json(self) -> str:
        """Return the specification as one line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Specification":
        """Return the specification that :meth:`to_json` wrote."""
        fields: Dict[str, Any] = json.loads(text)
        fields["hidden_sizes"] = tuple(fields["hidden_sizes"])
        return cls(**fields)


@dataclasses.dataclass
class Comparison:
    """A ratio that a table shows, with what it must and should reach."""

    title: str
    """What is compared."""

    contender: str
    """Whose figure stands above the line."""

    rivals: Tuple[str, ...]
    """Whose figure stands below the line; of several the best one."""

    must: Optional[float] = None
    """The bound that has to hold."""

    stretch: Optional[float] = None
    """The bound that is hoped for."""

    measure: str = "speed"
    """``"speed"``: environment steps per second, more is better; ``"time"``: seconds of a unit, less is better;
    ``"share"``: seconds of the environment alone over seconds of training, of one contender."""
