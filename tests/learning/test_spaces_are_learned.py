"""Every observation reaches the policy and every action the environment: scores that nothing less can reach."""

from typing import Any, Dict, List, NamedTuple, Optional

import pytest
import torch
from tasks import DictAction, MultiDiscreteAction, NestedObservation

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.base import Agent
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.evaluation import evaluate
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig


class Task(NamedTuple):
    """An environment, the score that proves learning, and the observations that are needed for it."""

    make: Any
    score: float
    needed: List[str]


TASKS: Dict[str, Task] = {
    "nested observation": Task(NestedObservation, -0.7, ["target/position", "sensor/0"]),
    "dict action": Task(DictAction, 9.0, ["x", "y"]),
    "multi discrete": Task(MultiDiscreteAction, 9.5, ["a", "b"]),
}


def score_of(agent: Agent, task: Task) -> float:
    return evaluate(GymnasiumWrapper(task.make, num_envs=50), agent, episodes=200, seed=77).return_mean


def trained(task: Task, withheld: Optional[str] = None) -> PPO:
    AquaML.seed_everything(0)
    env = GymnasiumWrapper(task.make, num_envs=32)
    names = [name for name in env.observation_layout.specs if name != withheld]
    models = default_models(env.getEnvInfo(), hidden_sizes=(32, 32), policy_inputs=names, initial_log_std=-0.5)
    cfg = PPOCfg(device="cpu", rollouts=16, learning_epochs=6, mini_batches=4, learning_rate=3e-3, discount_factor=0.0)
    agent = PPO(models, cfg)
    settings = TrainerConfig(timesteps=1200, seed=0, disable_progressbar=True, tensorboard=False)
    SequentialTrainer(env, agent, settings).train()
    return agent


class Blind(Agent):
    """Draws actions from the space, or always gives the same one."""

    def __init__(self, constant: bool) -> None:
        super().__init__()
        self.constant = constant

    def act(self, states: Any, timestep: int, timesteps: int) -> Dict[str, torch.Tensor]:
        rows = len(next(iter(states.values())))
        actions = {}
        for name, spec in self.action_layout.specs.items():
            shape = (rows,) + spec.shape
            if spec.is_floating:
                actions[name] = torch.zeros(shape) if self.constant else torch.rand(shape) * 2.0 - 1.0
            else:
                drawn = [torch.randint(size, (rows, 1)) for size in spec.sizes]
                actions[name] = torch.zeros(shape, dtype=torch.int64) if self.constant else torch.cat(drawn, dim=1)
        return actions

    def record_transition(self, *arguments: Any, **named: Any) -> None:
        pass

    def post_interaction(self, timestep: int, timesteps: int) -> None:
        pass


@pytest.mark.parametrize("name", list(TASKS))
def test_only_a_policy_that_sees_everything_reaches_the_score(name: str) -> None:
    task = TASKS[name]
    reached = score_of(trained(task), task)
    assert reached >= task.score
    for constant in (True, False):
        blind = Blind(constant)
        env = GymnasiumWrapper(task.make)
        blind.setup(env.getEnvInfo())
        assert score_of(blind, task) < task.score
    for withheld in task.needed:
        assert score_of(trained(task, withheld), task) < task.score, withheld
