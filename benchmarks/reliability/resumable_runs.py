"""Small runs of every kind, each made anew by a function: what a resume must reproduce."""

from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

import gymnasium
import numpy as np

ROLLOUT = 8
TIMESTEPS = 64
INTERVAL = 12
"""Vector steps between periodic checkpoints: some fall on updates, most into the middle of a rollout."""


class TwoParts(gymnasium.Env):
    """A Dict observation and a Dict action; lengths of episodes, starts and noise come from the generator."""

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Dict(
            {"body": gymnasium.spaces.Box(-10.0, 10.0, (3,), np.float32), "phase": gymnasium.spaces.Discrete(4)}
        )
        self.action_space = gymnasium.spaces.Dict(
            {"push": gymnasium.spaces.Box(-1.0, 1.0, (2,), np.float32), "gear": gymnasium.spaces.Discrete(3)}
        )

    def reset(self, *, seed: Optional[int] = None, options: Any = None) -> Any:
        """Begin at a random place."""
        super().reset(seed=seed)
        self._body = self.np_random.uniform(-1.0, 1.0, 3)
        self._left = int(self.np_random.integers(9, 30))
        return self._observe(), {}

    def step(self, action: Dict[str, Any]) -> Any:
        """Drift, be pushed, and be shaken."""
        self._body[:2] += 0.1 * np.asarray(action["push"]) * (1 + int(action["gear"]))
        self._body += 0.02 * self.np_random.standard_normal(3)
        self._left -= 1
        far = bool(np.abs(self._body).max() > 5.0)
        reward = -float(np.square(self._body).sum())
        return self._observe(), reward, far, self._left <= 0 and not far, {"far": float(far)}

    def _observe(self) -> Dict[str, Any]:
        return {"body": np.clip(self._body, -10.0, 10.0).astype(np.float32), "phase": self._left % 4}


class Kind(NamedTuple):
    """What is trained on what.

    Attributes:
        algorithm: ``"ppo"``, ``"ppo_full"`` (shared network, scheduler, normalised values, evaluations) or
            ``"custom"``.
        env: Environment id or class.
        vectorization: What steps the environments.
        options: Further arguments of the wrapper.
        needs: Package without which it is left out.
    """

    algorithm: str
    env: Any
    vectorization: str
    options: Dict[str, Any] = {}
    needs: Optional[str] = None


_SHORT = {"max_episode_steps": 30}
_TWO = {"workers": 2}

KINDS: Dict[str, Kind] = {
    "ppo, Pendulum batched": Kind("ppo", "Pendulum-v1", "batched", _SHORT),
    "custom agent, Pendulum sync": Kind("custom", "Pendulum-v1", "sync", _SHORT),
    "ppo, Ant batched": Kind("ppo", "Ant-v5", "batched", {}, "mujoco"),
    "ppo, Dict sync": Kind("ppo", TwoParts, "sync"),
    "ppo, Discrete batched": Kind("ppo", "CartPole-v1", "batched"),
    "ppo with everything, Pendulum batched": Kind("ppo_full", "Pendulum-v1", "batched", _SHORT),
    "ppo, Pendulum sharded": Kind("ppo", "Pendulum-v1", "sharded", dict(_SHORT, **_TWO)),
    "custom agent, Ant batched": Kind("custom", "Ant-v5", "batched", {}, "mujoco"),
    "ppo, Pendulum sync": Kind("ppo", "Pendulum-v1", "sync", _SHORT),
    "ppo, Discrete sync": Kind("ppo", "CartPole-v1", "sync"),
    "custom agent, Discrete batched": Kind("custom", "CartPole-v1", "batched"),
    "ppo, Dict sharded": Kind("ppo", TwoParts, "sharded", _TWO),
    "ppo with everything, Ant batched": Kind("ppo_full", "Ant-v5", "batched", _SHORT, "mujoco"),
}


def make_run(
    kind: Kind,
    root: Path,
    hooks: Sequence[Any] = (),
    operations: Optional[Any] = None,
    env_options: Optional[Dict[str, Any]] = None,
    **settings: Any,
) -> Any:
    """Make the trainer of a run called ``run``, from the same seeds each time.

    Args:
        kind: What is trained on what.
        root: Where runs are collected.
        hooks: Further hooks.
        operations: How files are touched; None: as usual.
        env_options: Further arguments of the wrapper.
        settings: Fields of the trainer's configuration.
    """
    import AquaML
    from AquaML.coordinator.coordinator import Coordinator
    from AquaML.environment.gymnasium_envs import GymnasiumWrapper
    from AquaML.learning.trainers.sequential import SequentialTrainer
    from AquaML.learning.trainers.trainer_cfg import TrainerConfig
    from benchmarks.reliability.custom_agent import Tally

    AquaML.seed_everything(3)
    options = dict(kind.options, **(env_options or {}))
    env = GymnasiumWrapper(kind.env, num_envs=4, vectorization=kind.vectorization, **options)
    agent = _AGENTS[kind.algorithm](env.getEnvInfo())
    values: Dict[str, Any] = {
        "seed": 7,
        "timesteps": TIMESTEPS,
        "run_directory": str(root),
        "run_name": "run",
        "disable_progressbar": True,
        "tensorboard": False,
        "learning_curve": False,
        "checkpoint_interval": INTERVAL,
    }
    if kind.algorithm == "ppo_full":
        values.update(evaluation_interval=20, evaluation_episodes=2)
    if kind.algorithm == "custom":
        values.update(log_interval=10)
    values.update(settings)
    everyone: List[Any] = [Tally(), *hooks]
    return SequentialTrainer(
        env, agent, TrainerConfig(**values), coordinator=Coordinator("cpu", operations), hooks=everyone
    )


def _ppo(info: Dict[str, Any]) -> Any:
    from AquaML.learning.model import default_models
    from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg

    cfg = PPOCfg(rollouts=ROLLOUT, learning_epochs=2, mini_batches=2, device="cpu")
    return PPO(default_models(info, hidden_sizes=(8,)), cfg)


def _ppo_full(info: Dict[str, Any]) -> Any:
    from AquaML.learning.model import default_models
    from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg

    cfg = PPOCfg(
        rollouts=ROLLOUT,
        memory_size=2 * ROLLOUT,
        learning_epochs=2,
        mini_batches=3,
        learning_rate_scheduler="KLAdaptiveLR",
        value_normalizer=True,
        observation_normalizer=True,
        device="cpu",
    )
    return PPO(default_models(info, hidden_sizes=(8,), shared=True), cfg)


def _custom(info: Dict[str, Any]) -> Any:
    from AquaML.learning.model import default_models
    from benchmarks.reliability.custom_agent import EpisodeGradient

    return EpisodeGradient({"policy": default_models(info, hidden_sizes=(8,))["policy"]})


_AGENTS: Dict[str, Callable[[Dict[str, Any]], Any]] = {"ppo": _ppo, "ppo_full": _ppo_full, "custom": _custom}
