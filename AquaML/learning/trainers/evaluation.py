"""Playing whole episodes without learning."""

import dataclasses
import math
import statistics
from typing import Any, Dict, List, Optional

import torch
from loguru import logger

from AquaML.coordinator.random_state import preserved_random_state
from AquaML.environment.base import EnvironmentWrapper
from AquaML.environment.rows import begun_rows


@dataclasses.dataclass
class EpisodeSummary:
    """What an evaluation found.

    Attributes:
        returns: Sum of rewards of each episode.
        lengths: Steps of each episode.
        infos: Name to the mean over episodes of each episode's mean of a scalar from ``infos``; of scalars that hold
            for the whole batch, the mean over steps that gave one.
    """

    returns: List[float]
    lengths: List[int]
    infos: Dict[str, float] = dataclasses.field(default_factory=dict)

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return len(self.returns)

    @property
    def return_mean(self) -> float:
        """Mean return; NaN without episodes."""
        return _mean(self.returns) if self.returns else float("nan")

    @property
    def return_std(self) -> float:
        """Standard deviation of the returns; NaN without episodes."""
        return statistics.pstdev(self.returns) if self.returns else float("nan")

    @property
    def length_mean(self) -> float:
        """Mean length; NaN without episodes."""
        return _mean(self.lengths) if self.lengths else float("nan")

    def figures(self) -> Dict[str, float]:
        """Return the summary as figures for a log."""
        figures = {"evaluation/episodes": float(self.episodes)}
        if self.returns:
            figures.update(
                {
                    "evaluation/return_mean": self.return_mean,
                    "evaluation/return_std": self.return_std,
                    "evaluation/return_min": min(self.returns),
                    "evaluation/return_max": max(self.returns),
                    "evaluation/length_mean": self.length_mean,
                }
            )
        figures.update({"evaluation/info/" + name: value for name, value in self.infos.items()})
        return figures

    def __str__(self) -> str:
        return "{} episodes, return {:.2f} ± {:.2f}, length {:.1f}".format(
            self.episodes, self.return_mean, self.return_std, self.length_mean
        )


class Renderer:
    """Renders if it can; what cannot be shown is said once and never ends an evaluation.

    Args:
        headless: True: nothing is rendered.
    """

    def __init__(self, headless: bool) -> None:
        self._active = not headless

    def show(self, environment: EnvironmentWrapper) -> None:
        """Render the present state."""
        if not self._active:
            return
        try:
            environment.render()
        except Exception as error:
            self._active = False
            logger.warning("Nothing is shown, the figures are computed all the same: {}", error)


def evaluate(
    environment: EnvironmentWrapper,
    agent: Any,
    episodes: Optional[int] = None,
    timesteps: Optional[int] = None,
    deterministic: bool = True,
    seed: Optional[int] = None,
    renderer: Optional[Renderer] = None,
) -> EpisodeSummary:
    """Let an agent play, without learning, statistics, or a move of the global random streams.

    Every environment plays the same number of episodes, since short episodes would be over-represented otherwise.

    Args:
        environment: Where to play; it is reset.
        agent: Who plays.
        episodes: At least how many episodes; rounded up to the same number in each environment.
        timesteps: At most how many vector steps; episodes still running then are not counted.
        deterministic: Whether the agent leaves out chance.
        seed: Seed of the reset.
        renderer: Shows every step.

    Returns:
        The finished episodes.
    """
    quota = None if episodes is None else -(-episodes // environment.num_envs)
    before = (agent.is_training, agent.is_deterministic)
    environment.to(agent.device)
    with preserved_random_state():
        agent.set_mode(training=False, deterministic=deterministic)
        environment.evaluating = True
        try:
            return _play(environment, agent, quota, timesteps, seed, renderer or Renderer(headless=True))
        finally:
            environment.evaluating = False
            agent.set_mode(*before)


def _play(
    environment: EnvironmentWrapper,
    agent: Any,
    quota: Optional[int],
    timesteps: Optional[int],
    seed: Optional[int],
    renderer: Renderer,
) -> EpisodeSummary:
    states, _ = environment.reset(seed=seed)
    agent.on_reset(torch.ones((environment.num_envs, 1), dtype=torch.bool, device=agent.device))
    record = _EpisodeRecord(environment.num_envs)
    timestep = 0
    while (timesteps is None or timestep < timesteps) and not record.complete(quota):
        renderer.show(environment)
        actions = agent.name_actions(agent.act(states, timestep, timesteps or timestep + 1))
        states, rewards, terminated, truncated, infos = environment.step(actions)
        done = terminated | truncated
        agent.on_reset(begun_rows(done, infos["valid"], environment.autoreset))
        record.add(rewards, done, infos)
        timestep += 1
    return record.summary(quota)


class _EpisodeRecord:
    """The episodes of each environment, in order."""

    def __init__(self, num_envs: int) -> None:
        self._returns: List[List[float]] = [[] for _ in range(num_envs)]
        self._lengths: List[List[int]] = [[] for _ in range(num_envs)]
        self._infos: List[List[Dict[str, float]]] = [[] for _ in range(num_envs)]
        self._return = [0.0] * num_envs
        self._length = [0] * num_envs
        self._info: List[Dict[str, List[float]]] = [{} for _ in range(num_envs)]
        self._means: Dict[str, List[float]] = {}

    def add(self, rewards: torch.Tensor, done: torch.Tensor, infos: Dict[str, Any]) -> None:
        valid = None if infos["valid"] is None else infos["valid"][:, 0].tolist()
        log = {name: values[:, 0].tolist() for name, values in infos["log"].items() if values.dim() > 0}
        for name, value in infos["log"].items():
            if value.dim() == 0:
                self._means.setdefault(name, []).append(float(value))
        ended = done[:, 0].tolist()
        for index, reward in enumerate(rewards[:, 0].tolist()):
            if valid is not None and not valid[index]:
                continue
            self._return[index] += reward
            self._length[index] += 1
            for name, values in log.items():
                if values[index] == values[index]:
                    self._info[index].setdefault(name, []).append(values[index])
            if ended[index]:
                self._end(index)

    def _end(self, index: int) -> None:
        self._returns[index].append(self._return[index])
        self._lengths[index].append(self._length[index])
        self._infos[index].append({name: _mean(values) for name, values in self._info[index].items()})
        self._return[index], self._length[index], self._info[index] = 0.0, 0, {}

    def complete(self, quota: Optional[int]) -> bool:
        return quota is not None and min(len(returns) for returns in self._returns) >= quota

    def summary(self, quota: Optional[int]) -> EpisodeSummary:
        shortest = min(len(returns) for returns in self._returns)
        number = shortest if quota is None else min(quota, shortest)
        # What holds for the whole batch belongs to no episode.
        infos: Dict[str, List[float]] = {name: [v for v in values if v == v] for name, values in self._means.items()}
        for episodes in self._infos:
            for episode in episodes[:number]:
                for name, value in episode.items():
                    infos.setdefault(name, []).append(value)
        return EpisodeSummary(
            returns=[value for returns in self._returns for value in returns[:number]],
            lengths=[value for lengths in self._lengths for value in lengths[:number]],
            infos={name: _mean(values) for name, values in infos.items() if values},
        )


def _mean(values: List[Any]) -> float:
    # statistics.fmean came with Python 3.8.
    return math.fsum(values) / len(values)
