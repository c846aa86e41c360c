"""Categories that must not be chosen are not: in drawing, judging, diverging and learning."""

from typing import Any, Dict, Optional

import gymnasium
import numpy as np
import pytest
import torch

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import ModelError
from AquaML.learning.model import CategoricalModel, Model, ModelCfg, MultiCategoricalModel
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

SIZES = [3, 2]


class Categorical(CategoricalModel):
    def compute(self, data_dict: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
        return {"logits": data_dict["logits"], "action_mask": data_dict["mask"]}


class Multi(MultiCategoricalModel):
    def compute(self, data_dict: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
        return {"logits": data_dict["logits"], "action_mask": data_dict["mask"]}


def test_in_a_million_draws_nothing_forbidden_comes_up() -> None:
    rows = 1_000_000
    logits = torch.randn(rows, 5) * 3.0
    mask = torch.rand(rows, 5) < 0.5
    mask[:, 0] |= ~mask.any(dim=1)
    drawn = Categorical(ModelCfg()).act({"logits": logits, "mask": mask})["actions"]
    assert bool(mask.gather(1, drawn).all())
    groups = torch.split(mask, SIZES, dim=1)
    drawn = Multi(ModelCfg(), SIZES).act({"logits": logits, "mask": mask})["actions"]
    for index, group in enumerate(groups):
        some = group.any(dim=1)
        assert bool(group.gather(1, drawn[:, index : index + 1])[some].all())


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32])
def test_what_is_left_is_a_distribution_over_what_is_allowed(dtype: torch.dtype) -> None:
    logits = torch.tensor([[0.3, 2.0, -1.0, 0.5]], requires_grad=True)
    mask = torch.tensor([[1, 0, 1, 1]]).to(dtype)
    model = Categorical(ModelCfg())
    evaluated = model.evaluate({"logits": logits, "mask": mask}, torch.tensor([[2]]))
    only = torch.distributions.Categorical(logits=logits[:, [0, 2, 3]])
    assert evaluated["log_prob"].item() == pytest.approx(only.log_prob(torch.tensor([1])).item(), rel=1e-6)
    assert evaluated["entropy"].item() == pytest.approx(only.entropy().item(), rel=1e-6)
    (evaluated["log_prob"] + evaluated["entropy"]).sum().backward()
    assert logits.grad[0, 1].item() == 0.0 and bool(torch.isfinite(logits.grad).all())
    assert model.act_deterministic({"logits": logits, "mask": mask})["actions"].item() == 3
    assert model.kl({"logits": evaluated["logits"]}, {"logits": evaluated["logits"]}).item() == 0.0


def test_a_row_that_allows_nothing_allows_everything() -> None:
    logits = torch.tensor([[1.0, 3.0, 2.0]]).expand(2, 3)
    mask = torch.tensor([[False, False, False], [True, False, True]])
    modes = Categorical(ModelCfg()).act_deterministic({"logits": logits, "mask": mask})["actions"]
    assert modes[:, 0].tolist() == [1, 2]


def test_a_mask_of_another_shape_is_an_error() -> None:
    with pytest.raises(ModelError, match="returned 'action_mask' of shape"):
        Categorical(ModelCfg()).act({"logits": torch.zeros(2, 3), "mask": torch.ones(2, 2)})


class Doors(gymnasium.Env):
    """Four doors of which two are open; a closed one that is tried ends the world."""

    observation_space = gymnasium.spaces.Dict(
        {"state": gymnasium.spaces.Box(0.0, 1.0, (4,)), "action_mask": gymnasium.spaces.MultiBinary(4)}
    )
    action_space = gymnasium.spaces.Discrete(4)

    def reset(self, *, seed: Optional[int] = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def _observe(self) -> Dict[str, np.ndarray]:
        self.open = np.zeros(4, np.int8)
        self.open[self.np_random.permutation(4)[:2]] = 1
        self.worth = self.np_random.random(4).astype(np.float32)
        return {"state": self.worth, "action_mask": self.open}

    def step(self, action: Any) -> Any:
        assert self.open[int(action)], "a closed door was tried"
        reward = float(self.worth[int(action)] == (self.worth * self.open).max())
        self.steps += 1
        return self._observe(), reward, False, self.steps >= 10, {}


class Policy(CategoricalModel):
    def __init__(self) -> None:
        super().__init__(ModelCfg(inputs_name=["state", "action_mask"]))
        self.net = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.Tanh(), torch.nn.Linear(32, 4))

    def compute(self, data_dict: Any) -> Any:
        return {"logits": self.net(data_dict["state"]), "action_mask": data_dict["action_mask"]}


class Value(Model):
    def __init__(self) -> None:
        super().__init__(ModelCfg(inputs_name=["state"]))
        self.net = torch.nn.Linear(4, 1)

    def compute(self, data_dict: Any) -> Any:
        return self.net(data_dict["state"])


def test_ppo_learns_which_open_door_is_worth_most() -> None:
    AquaML.seed_everything(0)
    env = GymnasiumWrapper(Doors, num_envs=16)
    agent = PPO({"policy": Policy(), "value": Value()}, PPOCfg(device="cpu", rollouts=32, learning_rate=3e-3))
    cfg = TrainerConfig(timesteps=1600, seed=0, disable_progressbar=True, tensorboard=False, learning_curve=False)
    trainer = SequentialTrainer(env, agent, cfg)
    before = trainer.eval(episodes=32).return_mean
    trainer.train()
    # Chance among the open doors gives 5; what is closed is never tried, or the environment would fail.
    assert before < 7.0 and trainer.eval(episodes=32).return_mean > 9.0
