"""Environments that speak rsl_rl's ``VecEnv``, in plain torch, of three generations and with their traps."""

from typing import Any, Callable, Dict, Iterator, List, Tuple

import torch
from case import LIMIT, Case
from worlds import ClockWorld, World

from AquaML.environment.legged_gym_envs import LeggedGymWrapper
from AquaML.environment.rsl_rl_envs import RslRlVecEnvWrapper


class Groups:
    """What a TensorDict is to a reader: keys and items; iterating it gives rows, not keys."""

    def __init__(self, groups: Dict[str, torch.Tensor]) -> None:
        self._groups = groups

    def keys(self) -> List[str]:
        return list(self._groups)

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._groups[name]

    def __iter__(self) -> Iterator[Any]:
        raise AssertionError("iterating over a TensorDict gives rows")


class _Base:
    """What the generations share: same-step reset, rewards that accumulate in a reused buffer."""

    def __init__(self, num_envs: int, world: Any, limit: int) -> None:
        self.num_envs, self.device, self.cfg = num_envs, "cpu", {}
        self.world: World = world(num_envs, limit + 1)
        self.num_obs, self.num_actions = self.world.observation_size, self.world.action_size
        self.max_episode_length: Any = limit
        self.episode_length_buf = torch.zeros(num_envs, dtype=torch.long)
        self.rew_buf = torch.zeros(num_envs)
        self.reset_buf = torch.ones(num_envs, dtype=torch.long)
        self.extras: Dict[str, Any] = {}
        self._observation = torch.zeros((num_envs, self.num_obs))
        self._privileged = torch.zeros((num_envs, self.world.privileged_size))
        self.received = torch.zeros((num_envs, self.num_actions))

    def _move(self, actions: torch.Tensor) -> torch.Tensor:
        """Step the world; return which time limits are over."""
        self.received = torch.clamp(actions, -1.0, 1.0)
        actions.fill_(99.0)  # a careless environment
        self.rew_buf[:] = 0.0
        self.rew_buf += self.world.advance(self.received)
        self.episode_length_buf += 1
        over = self.episode_length_buf > self.max_episode_length
        self.reset_buf = self.world.fallen | over
        return over

    def _look(self) -> None:
        self._observation[:] = self.world.observe()
        self._privileged[:] = self.world.look_behind()


class GenesisStandIn(_Base):
    """``Genesis: examples/locomotion/go2_env.py``: groups, time limits in float, written in every step.

    Args:
        num_envs: Number of environments.
        world: What moves.
        limit: The time limit; an episode is over when it is exceeded.
        plain: Give the observation as a tensor and the critic's in ``extras["observations"]``, as before rsl_rl 3.
        terminal: Hand over last observations as ``extras["terminal"]``.
    """

    def __init__(
        self, num_envs: int, world: Any = ClockWorld, limit: int = LIMIT, plain: bool = False, terminal: bool = False
    ) -> None:
        super().__init__(num_envs, world, limit)
        self._plain, self._terminal = plain, terminal
        self.extras = {"observations": {}} if plain else {}

    def get_observations(self) -> Any:
        if self._plain:
            self.extras["observations"]["critic"] = self._privileged
            return self._observation, self.extras
        return Groups({"policy": self._observation, "critic": self._privileged})

    def reset(self) -> Any:
        self.reset_idx(torch.arange(self.num_envs))
        self._look()
        return self.get_observations()

    def reset_idx(self, rows: torch.Tensor) -> None:
        if len(rows) == 0:
            return
        self.world.begin(rows)
        self.episode_length_buf[rows] = 0
        self.extras["episode"] = {"rew_height": self.rew_buf[rows].mean(), "level": 0.5}

    def step(self, actions: torch.Tensor) -> Any:
        over = self._move(actions)
        self.extras["time_outs"] = over.float()
        rows = self.reset_buf.nonzero(as_tuple=False).flatten()
        self.extras.pop("terminal", None)
        if self._terminal and len(rows):
            last = {"policy": self.world.observe()[rows], "critic": self.world.look_behind()[rows]}
            self.extras["terminal"] = {"env_ids": rows, "observations": last}
        self.reset_idx(rows)
        self._look()
        observations = self.get_observations()
        return observations[0] if self._plain else observations, self.rew_buf, self.reset_buf, self.extras


class LeggedGymStandIn(_Base):
    """``legged_gym: envs/base/legged_robot.py``: time limits are written at resets alone and stale in between.

    Args:
        num_envs: Number of environments.
        world: What moves.
        limit: The time limit; an episode is over when it is exceeded.
        values: How many values ``step`` returns: 5, or 7 or 9 in forks.
        privileged: Whether there are privileged observations.
    """

    def __init__(
        self, num_envs: int, world: Any = ClockWorld, limit: int = LIMIT, values: int = 5, privileged: bool = True
    ) -> None:
        super().__init__(num_envs, world, limit)
        self._values = values
        self.num_privileged_obs = self.world.privileged_size if privileged else None
        self.max_episode_length = float(limit)  # numpy's ceil gives a float there
        self._time_out_buf = torch.zeros(num_envs, dtype=torch.bool)

    def get_observations(self) -> torch.Tensor:
        return self._observation

    def get_privileged_observations(self) -> Any:
        return None if self.num_privileged_obs is None else self._privileged

    def reset(self) -> Tuple[Any, Any]:
        self.reset_idx(torch.arange(self.num_envs))
        result = self.step(torch.zeros((self.num_envs, self.num_actions)))
        return result[0], result[1]

    def reset_idx(self, rows: torch.Tensor) -> None:
        if len(rows) == 0:
            return
        self.world.begin(rows)
        self.episode_length_buf[rows] = 0
        self.extras["episode"] = {"rew_tracking": self.rew_buf[rows].mean()}
        self.extras["time_outs"] = self._time_out_buf

    def step(self, actions: torch.Tensor) -> Any:
        self._time_out_buf = self._move(actions)
        self.reset_idx(self.reset_buf.nonzero(as_tuple=False).flatten())
        self._look()
        result = (self._observation, self.get_privileged_observations(), self.rew_buf, self.reset_buf, self.extras)
        return result + tuple(torch.zeros(3) for _ in range(self._values - 5))


def rsl_rl(**settings: Any) -> Callable[..., RslRlVecEnvWrapper]:
    """Return what makes a wrapper over an environment with these settings."""

    def make(num_envs: int, world: Any = ClockWorld, limit: int = LIMIT, **options: Any) -> RslRlVecEnvWrapper:
        options.setdefault("gives_final_observation", settings.get("terminal", False))
        return RslRlVecEnvWrapper(GenesisStandIn(num_envs, world, limit, **settings), clip_actions=1.0, **options)

    return make


def legged_gym(**settings: Any) -> Callable[..., LeggedGymWrapper]:
    """Return what makes a wrapper over an environment with these settings."""

    def make(num_envs: int, world: Any = ClockWorld, limit: int = LIMIT, **options: Any) -> LeggedGymWrapper:
        return LeggedGymWrapper(LeggedGymStandIn(num_envs, world, limit, **settings), clip_actions=1.0, **options)

    return make


_HIDDEN: Dict[str, Any] = {"limit_age": LIMIT + 1, "both": "truncated", "gives_final": False}
CASES: Dict[str, Case] = {
    "rsl_rl groups": Case(rsl_rl(), **_HIDDEN),
    "rsl_rl plain": Case(rsl_rl(plain=True), **_HIDDEN),
    "rsl_rl terminal": Case(rsl_rl(terminal=True), **dict(_HIDDEN, gives_final=True)),
    "legged_gym 5": Case(legged_gym(), **_HIDDEN),
    "legged_gym 7": Case(legged_gym(values=7), **_HIDDEN),
    "legged_gym 9 without privileged": Case(legged_gym(values=9, privileged=False), **dict(_HIDDEN, privileged=())),
}
