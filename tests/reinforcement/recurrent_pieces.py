"""Recurrent models and tasks that the tests of recurrence share."""

from typing import Any, Dict

import torch
from scripted import passes
from torch import nn

from AquaML.learning.model import GaussianModel, Model, ModelCfg, RecurrentEncoder

KINDS = ("separate", "shared", "feed-forward value", "feed-forward policy")
"""Which of policy and value function remember."""


class Policy(GaussianModel):
    """A Gaussian whose mean depends on all that was seen in the episode."""

    def __init__(self, cell: str = "gru", size: int = 8, layers: int = 1, with_values: bool = False) -> None:
        super().__init__(ModelCfg(inputs_name=["state"], concat_dict=True))
        self.encoder = RecurrentEncoder(2, size, cell, layers)
        self.recurrent_state = self.encoder.recurrent_state
        self.mean = nn.Linear(size, 1)
        self.values = nn.Linear(size, 1) if with_values else None
        self.log_std_parameter = nn.Parameter(torch.zeros(1))

    def compute(self, data_dict: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
        features, states = self.encoder(data_dict["features"], data_dict, data_dict["resets"])
        outputs = dict(states, mean_actions=self.mean(features))
        if self.values is not None:
            outputs["values"] = self.values(features)
        return outputs


class Value(Model):
    """A value that depends on all that was seen in the episode; another name for its state, another size."""

    def __init__(self, cell: str = "gru", size: int = 6) -> None:
        super().__init__(ModelCfg(inputs_name=["state"]))
        self.encoder = RecurrentEncoder(2, size, cell)
        self.recurrent_state = self.encoder.recurrent_state
        self.head = nn.Linear(size, 1)

    def compute(self, data_dict: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
        features, states = self.encoder(data_dict["state"], data_dict, data_dict["resets"])
        return dict(states, values=self.head(features))


class PlainPolicy(GaussianModel):
    """A Gaussian without memory."""

    def __init__(self) -> None:
        super().__init__(ModelCfg())
        self.mean = nn.Linear(2, 1)
        self.log_std_parameter = nn.Parameter(torch.zeros(1))

    def compute(self, data_dict: Dict[str, torch.Tensor]) -> torch.Tensor:
        assert list(data_dict) == ["state"]
        return self.mean(data_dict["state"])


class PlainValue(Model):
    """A value without memory, which asks for all observations and must see nothing else."""

    def __init__(self) -> None:
        super().__init__(ModelCfg())
        self.head = nn.Linear(2, 1)

    def compute(self, data_dict: Dict[str, torch.Tensor]) -> torch.Tensor:
        assert list(data_dict) == ["state"]
        return self.head(data_dict["state"])


class Sum(Model):
    """The sum of the first feature over the episode, the present step included: a recurrence to check by hand."""

    recurrent_state = {"sum": (1,)}

    def __init__(self) -> None:
        super().__init__(ModelCfg(inputs_name=["state"], concat_dict=True))
        self.weight = nn.Parameter(torch.zeros(1))

    def compute(self, data_dict: Dict[str, torch.Tensor]) -> Dict[str, torch.Tensor]:
        features, resets, total = data_dict["features"], data_dict["resets"], data_dict["sum"]
        values = []
        for step in range(features.shape[1]):
            total = torch.where(resets[:, step], torch.zeros_like(total), total) + features[:, step, :1]
            values.append(total)
        return {"values": torch.stack(values, dim=1) + 0.0 * self.weight, "sum": total}


def models_of(kind: str, cell: str = "gru") -> Dict[str, Model]:
    if kind == "shared":
        model = Policy(cell, with_values=True)
        return {"policy": model, "value": model}
    policy = PlainPolicy() if kind == "feed-forward policy" else Policy(cell, layers=2)
    return {"policy": policy, "value": PlainValue() if kind == "feed-forward value" else Value(cell)}


def recurrent_agent(agent: Any, kind: str = "separate", cell: str = "gru", **options: Any) -> Any:
    """An agent of a class with small recurrent models."""
    settings: Dict[str, Any] = dict(rollouts=8, sequence_length=4, mini_batches=2, device="cpu", **passes(agent, 2))
    settings.update(options)
    return agent(models_of(kind, cell), agent.config_class(**settings))
