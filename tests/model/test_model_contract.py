"""What users' models get and return, and what they are told when that is wrong."""

from typing import Any, Dict, List

import gymnasium
import numpy as np
import pytest
import torch
from torch import nn

from AquaML.environment.spaces import layout_of
from AquaML.errors import AgentError, ConfigError, ModelError
from AquaML.learning.model import (
    CategoricalModel,
    CompositeModel,
    DeterministicModel,
    GaussianModel,
    Model,
    ModelCfg,
    MultiCategoricalModel,
)
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg

spaces = gymnasium.spaces
BOX = spaces.Box(-1.0, 1.0, (3,), np.float32)
OBSERVATIONS = spaces.Dict({"b": BOX, "a": BOX, "kind": spaces.Discrete(2)})


def env_info(actions: Any = BOX, observations: Any = BOX) -> Dict[str, Any]:
    seen, done = layout_of(observations, "state"), layout_of(actions, "action")
    return {
        "name": "test",
        "num_envs": 2,
        "observation_cfg": seen.specs,
        "action_cfg": done.specs,
        "observation_layout": seen,
        "action_layout": done,
        "max_episode_length": None,
        "gives_final_observation": True,
        "has_invalid_rows": False,
        "action_bounds": "clip",
    }


class Returning(GaussianModel):
    """A Gaussian whose compute returns what it is told to."""

    def __init__(self, result: Any, log_std: bool = True) -> None:
        super().__init__(ModelCfg(inputs_name=["state"]))
        self.result = result
        self.layer = nn.Linear(3, 3)
        if log_std:
            self.log_std_parameter = nn.Parameter(torch.zeros(3))

    def compute(self, data_dict: Dict[str, torch.Tensor]) -> Any:
        return self.result(self.layer(data_dict["state"]))


class Value(Model):
    def __init__(self, result: Any = lambda values: values) -> None:
        super().__init__(ModelCfg(inputs_name=["state"]))
        self.result = result
        self.layer = nn.Linear(3, 1)

    def compute(self, data_dict: Dict[str, torch.Tensor]) -> Any:
        return self.result(self.layer(data_dict["state"]))


def prepare(policy: Model, value: Model, info: Dict[str, Any]) -> PPO:
    agent = PPO({"policy": policy, "value": value}, PPOCfg(rollouts=2, mini_batches=1, device="cpu"))
    agent.setup(info)
    agent.prepare_training()
    return agent


WRONG_POLICIES = [
    (
        lambda m: {"mean_action": m},
        r"Returning.compute must return 'mean_actions' of shape.*it returned 'mean_action'",
    ),
    (
        lambda m: {"mean_actions": m[:, :2]},
        r"Returning.compute returned 'mean_actions' of shape \(2, 2\); expected \(2, 3\)",
    ),
    (lambda m: {"mean_actions": m[0]}, r"'mean_actions' of shape \(3,\); expected \(2, 3\)"),
    (lambda m: {"mean_actions": m.tolist()}, r"Returning.compute returned 'mean_actions' as list; expected a tensor"),
    (lambda m: {"mean_actions": m, "log_std": torch.zeros(2)}, r"'log_std' of shape \(2,\); expected \(2, 3\)"),
    (lambda m: {"mean_actions": m, "log_std": [0.0] * 3}, r"'log_std' as list; expected a tensor"),
    (lambda m: (m, m), r"Returning.compute returned tuple; expected a dict of tensors with 'mean_actions'"),
    (lambda m: None, r"Returning.compute returned NoneType; expected a dict"),
]


@pytest.mark.parametrize("result, words", WRONG_POLICIES)
def test_wrong_outputs_of_a_policy(result: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        prepare(Returning(result), Value(), env_info())


def test_missing_log_std() -> None:
    with pytest.raises(ModelError, match="must return 'log_std' beside 'mean_actions', or Returning must have"):
        prepare(Returning(lambda m: m, log_std=False), Value(), env_info())


WRONG_VALUES = [
    (lambda v: {"value": v}, r"Value.compute must return 'values' of shape \(2, 1\); it returned 'value'"),
    (lambda v: v[:, 0], r"Value.compute returned 'values' of shape \(2,\); expected \(2, 1\)"),
    (lambda v: {"values": v.expand(-1, 3)}, r"'values' of shape \(2, 3\); expected \(2, 1\)"),
    (lambda v: {}, r"Value.compute must return 'values'.*it returned nothing"),
]


@pytest.mark.parametrize("result, words", WRONG_VALUES)
def test_wrong_outputs_of_a_value_function(result: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        prepare(Returning(lambda m: m), Value(result), env_info())


def test_a_bare_tensor_is_the_one_output() -> None:
    agent = prepare(Returning(lambda m: m), Value(), env_info())
    actions = agent.act({"state": torch.zeros(2, 3)}, 0, 1)
    assert actions["action"].shape == (2, 3)


class Logits(CategoricalModel):
    def __init__(self, count: int) -> None:
        super().__init__(ModelCfg(inputs_name=["state"], concat_dict=True))
        self.layer = nn.Linear(3, count)

    def compute(self, data_dict: torch.Tensor) -> torch.Tensor:
        return self.layer(data_dict)


class Groups(MultiCategoricalModel):
    def __init__(self, count: int, sizes: Any = None) -> None:
        super().__init__(ModelCfg(inputs_name=["state"], concat_dict=True), sizes)
        self.layer = nn.Linear(3, count)

    def compute(self, data_dict: torch.Tensor) -> torch.Tensor:
        return self.layer(data_dict)


TWO = spaces.Dict({"move": BOX, "turn": BOX})
UNSUITED = [
    (lambda: Returning(lambda m: m), spaces.Discrete(3), "Returning is a Gaussian policy.*Use CategoricalModel"),
    (lambda: Returning(lambda m: m), TWO, "one Box action, but the actions are.*CompositeModel for several"),
    (lambda: Logits(3), BOX, "Logits is a policy for one Discrete action.*GaussianModel for Box"),
    (lambda: Logits(4), spaces.Discrete(3), r"Logits.compute returned 'logits' of shape \(2, 4\); expected \(2, 3\)"),
    (lambda: Groups(5), spaces.MultiDiscrete([2, 2]), r"Groups.compute returned 'logits' of shape \(2, 5\)"),
    (lambda: Groups(5, [3, 2]), spaces.MultiDiscrete([2, 3]), r"made for sizes \(3, 2\), but action 'action' has"),
    (lambda: Groups(3), BOX, "Groups is a policy for one MultiDiscrete or MultiBinary"),
    (lambda: CompositeModel({"move": Returning(lambda m: m)}), TWO, "has models for 'move', but the actions are"),
]


@pytest.mark.parametrize("make, actions, words", UNSUITED)
def test_policies_that_do_not_suit_the_actions(make: Any, actions: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        prepare(make(), Value(), env_info(actions))


def test_a_policy_without_log_probability_is_refused() -> None:
    class Direct(DeterministicModel):
        def compute(self, data_dict: Dict[str, torch.Tensor]) -> torch.Tensor:
            return data_dict["state"]

    with pytest.raises(AgentError, match="Direct, which has no log-probability"):
        PPO({"policy": Direct(ModelCfg()), "value": Value()}, PPOCfg(device="cpu"))
    outputs = Direct(ModelCfg()).act({"state": torch.ones(2, 3)})
    assert torch.equal(outputs["actions"], torch.ones(2, 3))


# ---------------------------------------------------------------------- inputs


class Seeing(Model):
    def __init__(self, **options: Any) -> None:
        super().__init__(ModelCfg(**options))
        self.seen: List[Any] = []

    def compute(self, data_dict: Any) -> torch.Tensor:
        self.seen.append(data_dict)
        first = data_dict if isinstance(data_dict, torch.Tensor) else next(iter(data_dict.values()))
        return torch.zeros(len(first), 1)


def batch() -> Dict[str, torch.Tensor]:
    return {"b": torch.rand(4, 3), "a": torch.rand(4, 3), "kind": torch.tensor([[0], [1], [1], [0]])}


def test_a_model_sees_its_names_in_its_order_and_nothing_else() -> None:
    model, data = Seeing(inputs_name=["kind", "a"]), batch()
    model.act(data)
    assert type(model.seen[0]) is dict
    assert list(model.seen[0]) == ["kind", "a"]
    assert model.seen[0]["a"] is data["a"]


def test_one_tensor_in_the_order_of_the_names_with_categories_one_hot() -> None:
    model, data = Seeing(inputs_name=["kind", "a"], concat_dict=True), batch()
    model.bind(layout_of(OBSERVATIONS, "state").specs)
    model.act(data)
    one_hot = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    assert torch.equal(model.seen[0], torch.cat([one_hot, data["a"]], dim=1))
    assert model.concatenated_size() == 5


def test_without_names_a_model_sees_all_and_that_is_said_once(log_lines: list) -> None:
    model = Seeing()
    for _ in range(3):
        model.bind(layout_of(OBSERVATIONS, "state").specs)
        model.act(batch())
    assert list(model.seen[0]) == ["b", "a", "kind"]
    assert (
        len([line for line in log_lines if "sees all observations: 'a', 'b', 'kind'" in line or "'b', 'a'" in line])
        == 1
    )


@pytest.mark.parametrize(
    "options, data, words",
    [
        (
            {"inputs_name": ["kindd"]},
            batch(),
            "Seeing needs the observation 'kindd', but got 'b', 'a', 'kind'. Did you",
        ),
        (
            {"inputs_name": ["state"]},
            torch.zeros(2, 3),
            r"expects a dict of tensors with the keys \['state'\], got a tensor",
        ),
        ({"concat_dict": True}, batch(), "cannot one-hot 'kind' before it knows the space"),
    ],
)
def test_wrong_inputs(options: Dict[str, Any], data: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        Seeing(**options).act(data)


def test_names_that_the_environment_lacks() -> None:
    with pytest.raises(
        ModelError, match="Seeing.inputs_name asks for 'statee', but the observations are 'state'. Did you"
    ):
        prepare(Returning(lambda m: m), Seeing(inputs_name=["statee"]), env_info())


@pytest.mark.parametrize("names", [[], ["a", "a"]])
def test_names_must_be_there_once_each(names: List[str]) -> None:
    with pytest.raises(ConfigError, match="ModelCfg.inputs_name is .*each only once"):
        Seeing(inputs_name=names)


def test_constructor_errors() -> None:
    with pytest.raises(ModelError, match="Model expects a ModelCfg, got 'dict'"):
        Model({"device": "cpu"})  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="min_log_std is 1.0 and max_log_std is 0.0"):
        GaussianModel(ModelCfg(), min_log_std=1.0, max_log_std=0.0)  # type: ignore[abstract]
    with pytest.raises(ModelError, match="at least one model"):
        CompositeModel({})
    with pytest.raises(ModelError, match=r"CompositeModel\['move'\] is a Value; expected a distribution"):
        CompositeModel({"move": Value()})  # type: ignore[dict-item]
    with pytest.raises(NotImplementedError, match="Model must define compute"):
        Model(ModelCfg()).act({"state": torch.zeros(1, 3)})


def test_models_of_an_agent() -> None:
    with pytest.raises(
        AgentError, match="PPO needs the models 'policy', 'value'; 'value' is missing, given are 'policy'"
    ):
        PPO({"policy": Returning(lambda m: m)})
    with pytest.raises(AgentError, match="expects models as a dict"):
        PPO([Value()])  # type: ignore[arg-type]
    with pytest.raises(AgentError, match=r"models\['value'\] is 'int'; expected a Model"):
        PPO({"policy": Returning(lambda m: m), "value": 3})
    with pytest.raises(AgentError, match="PPO expects a PPOCfg, got 'dict'"):
        PPO({"policy": Returning(lambda m: m), "value": Value()}, {"rollouts": 3})  # type: ignore[arg-type]
