"""Tables: hand-computed steps, value iteration on a small grid, and everything that other agents keep to."""

from typing import Any, Dict, Optional

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.environment.spaces import layout_of
from AquaML.errors import AgentError, ConfigError, NonFiniteError
from AquaML.learning.reinforcement.checker import check_agent
from AquaML.learning.reinforcement.tabular import SARSA, QLearning, TabularCfg
from AquaML.learning.reinforcement.tabular.table import ActionValueTable
from AquaML.learning.trainers.evaluation import evaluate
from AquaML.learning.trainers.hooks import Hook
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig

SIDE, GAMMA = 4, 0.9
MOVES = [(-1, 0), (1, 0), (0, -1), (0, 1)]
HOLE, GOAL = (1, 2), (3, 3)
KINDS = {"q_learning": QLearning, "sarsa": SARSA}


class Grid(gymnasium.Env):
    """Four by four places, one hole, one goal; every step costs 0.1, and after 40 steps the clock ends the episode."""

    observation_space = spaces.MultiDiscrete([SIDE, SIDE])
    action_space = spaces.Discrete(4)

    def reset(self, *, seed: Optional[int] = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps, self.place = 0, HOLE
        while self.place in (HOLE, GOAL):
            self.place = tuple(self.np_random.integers(0, SIDE, 2).tolist())
        return np.array(self.place), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        self.place, reward, over = moved(self.place, int(action))
        return np.array(self.place), reward, over, self.steps >= 40, {}


def moved(place: Any, action: int) -> Any:
    """Return place, reward and whether the episode is over after a move."""
    place = tuple(int(np.clip(place[axis] + MOVES[action][axis], 0, SIDE - 1)) for axis in range(2))
    return place, {GOAL: 1.0, HOLE: -1.0}.get(place, -0.1), place in (GOAL, HOLE)


def value_iteration(epsilon: float) -> np.ndarray:
    """Return the values of the best policy that acts at random with a chance of epsilon."""
    values = np.zeros((SIDE * SIDE, 4))
    for _ in range(500):
        worth = (1.0 - epsilon) * values.max(axis=1) + epsilon * values.mean(axis=1)
        for row in range(SIDE * SIDE):
            for action in range(4):
                place, reward, over = moved(divmod(row, SIDE), action)
                values[row, action] = reward + (0.0 if over else GAMMA * worth[place[0] * SIDE + place[1]])
    return values


def trained(kind: str, timesteps: int, num_envs: int = 16, **settings: Any) -> Any:
    AquaML.seed_everything(0)
    agent = KINDS[kind](cfg=TabularCfg(device="cpu", discount_factor=GAMMA, **settings))
    cfg = TrainerConfig(
        timesteps=timesteps, seed=0, disable_progressbar=True, tensorboard=False, learning_curve=False, log_interval=500
    )
    SequentialTrainer(GymnasiumWrapper(Grid, num_envs=num_envs), agent, cfg).train()
    return agent


ROWS = [row for row in range(SIDE * SIDE) if divmod(row, SIDE) not in (HOLE, GOAL)]


def test_q_learning_equals_value_iteration() -> None:
    # Nothing here is left to chance but exploration, so a large step size converges to the numbers themselves.
    agent = trained("q_learning", 3000, learning_rate=0.5, final_exploration=0.5)
    np.testing.assert_allclose(agent.table.values.numpy()[ROWS], value_iteration(0.0)[ROWS], atol=1e-4)


def test_sarsa_equals_value_iteration_with_its_own_exploration() -> None:
    settings: Dict[str, Any] = dict(exploration=0.3, final_exploration=0.3)
    agent = trained("sarsa", 6000, learning_rate=0.02, num_envs=64, **settings)
    expected = value_iteration(0.3)
    np.testing.assert_allclose(agent.table.values.numpy()[ROWS], expected[ROWS], atol=0.06)
    # Q-learning learns other numbers from the same behaviour, so the two are told apart.
    assert np.abs(expected[ROWS] - value_iteration(0.0)[ROWS]).max() > 0.3


@pytest.mark.parametrize("kind", list(KINDS))
def test_what_was_learned_finds_the_goal(kind: str) -> None:
    agent = trained(kind, 1500, learning_rate=0.2, final_exploration=0.0)
    summary = evaluate(GymnasiumWrapper(Grid, num_envs=10), agent, episodes=50, seed=1)
    assert min(summary.returns) >= 0.499 and max(summary.lengths) <= 6


def step(agent: Any, state: int, action: int, reward: float, following: int, **flags: bool) -> None:
    def rows(value: Any, dtype: Any = torch.int64) -> torch.Tensor:
        return torch.tensor([[value]], dtype=dtype)

    agent.record_transition(
        {"state": rows(state)},
        {"action": rows(action)},
        rows(reward, torch.float32),
        {"state": rows(following)},
        rows(flags.get("terminated", False), torch.bool),
        rows(flags.get("truncated", False), torch.bool),
        {"valid": rows(flags["valid"], torch.bool) if "valid" in flags else None},
        0,
        1,
    )


def counted(kind: str, **settings: Any) -> Any:
    settings.setdefault("exploration", 0.0)
    agent = KINDS[kind](cfg=TabularCfg(device="cpu", discount_factor=0.5, learning_rate=0.5, **settings))
    agent.bind_spaces(layout_of(spaces.Discrete(3), "state"), layout_of(spaces.Discrete(2), "action"))
    agent.table.values.copy_(torch.tensor([[0.0, 1.0], [4.0, 2.0], [0.0, 0.0]]))
    return agent


@pytest.mark.parametrize("kind", list(KINDS))
def test_steps_by_hand(kind: str) -> None:
    # Half of the way from 1 to 3 + 0.5 * 4, the best that follows; exploration is off, so SARSA takes that, too.
    for flags, expected in (
        ({}, 3.0),
        ({"truncated": True}, 3.0),
        ({"terminated": True}, 2.0),
        ({"valid": True}, 3.0),
        ({"valid": False}, 1.0),
    ):
        agent = counted(kind)
        step(agent, 0, 1, 3.0, 1, **flags)
        assert agent.table.values.tolist() == [[0.0, expected], [4.0, 2.0], [0.0, 0.0]], flags


def test_sarsa_takes_the_action_that_it_has_learned_with() -> None:
    agent = counted("sarsa", exploration=1.0, final_exploration=1.0)
    for _ in range(20):
        agent.table.values[0, 1] = 1.0
        step(agent, 0, 1, 3.0, 1)
        taken = int(agent.act({"state": torch.tensor([[1]])}, 0, 1)["action"])
        assert agent.table.values[0, 1].item() == 1.0 + 0.5 * (3.0 + 0.5 * [4.0, 2.0][taken] - 1.0)
    agent.on_reset(torch.tensor([[True]]))
    drawn = {int(agent.act({"state": torch.tensor([[1]])}, 0, 1)["action"]) for _ in range(50)}
    assert drawn == {0, 1}


def test_several_environments_in_one_entry_move_it_by_their_mean() -> None:
    table = ActionValueTable(
        layout_of(spaces.Discrete(3), "state").specs,
        layout_of(spaces.Discrete(2), "action").specs["action"],
        0.0,
        torch.device("cpu"),
    )
    table.move(torch.tensor([1, 1, 2]), torch.tensor([0, 0, 1]), torch.tensor([1.0, 3.0, 5.0]), 0.5)
    assert table.values.tolist() == [[0.0, 0.0], [1.0, 0.0], [0.0, 2.5]]


def test_states_of_several_categories_are_counted_through() -> None:
    space = spaces.Dict({"a": spaces.Discrete(3, start=5), "b": spaces.MultiDiscrete([2, 4])})
    table = ActionValueTable(
        layout_of(space, "state").specs,
        layout_of(spaces.Discrete(2), "action").specs["action"],
        0.0,
        torch.device("cpu"),
    )
    rows = [
        int(table.rows_of({"a": torch.tensor([[a]]), "b": torch.tensor([[b, c]])}))
        for a in range(3)
        for b in range(2)
        for c in range(4)
    ]
    assert rows == list(range(24))


def test_exploration_goes_down_linearly() -> None:
    agent = counted("q_learning", exploration=0.8, final_exploration=0.2, exploration_share=0.5)
    assert [round(agent.exploration(step, 100), 6) for step in (0, 25, 50, 99)] == [0.8, 0.5, 0.2, 0.2]


@pytest.mark.parametrize("kind", list(KINDS))
def test_the_contract_of_agents(kind: str) -> None:
    check_agent(KINDS[kind](cfg=TabularCfg(device="cpu")), GymnasiumWrapper(Grid, num_envs=2))


class StopAt(Hook):
    """Ends a run in its midst, whose length exploration depends on."""

    def on_step(self, trainer: Any) -> None:
        if trainer.timestep == 37:
            trainer.stop("asked to")


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_resumed_run_equals_the_uninterrupted_one(kind: str) -> None:
    def run(hooks: Any = (), **settings: Any) -> torch.Tensor:
        AquaML.seed_everything(5)
        agent = KINDS[kind](cfg=TabularCfg(device="cpu"))
        cfg = TrainerConfig(
            timesteps=90, seed=5, disable_progressbar=True, tensorboard=False, learning_curve=False, **settings
        )
        SequentialTrainer(GymnasiumWrapper(Grid, num_envs=3), agent, cfg, hooks=hooks).train()
        return agent.table.values

    whole, cut = run(run_name="whole"), run([StopAt()], run_name="cut")
    assert not torch.equal(whole, cut)
    assert torch.equal(whole, run(resume="runs/cut"))


def test_an_agent_is_saved_loaded_and_asked_without_an_environment() -> None:
    agent = trained("q_learning", 300)
    agent.save("table.aqua")
    other = QLearning(cfg=TabularCfg(device="cpu"))
    other.load("table.aqua")
    assert torch.equal(other.table.values, agent.table.values)
    best = agent.table.values.argmax(dim=1)
    assert [int(other.predict(np.array(divmod(row, SIDE)))) for row in ROWS] == best[ROWS].tolist()


def test_a_reward_that_is_not_finite_reaches_no_entry() -> None:
    agent = counted("q_learning")
    before = agent.table.values.clone()
    with pytest.raises(NonFiniteError, match="reward of environment 0 holds nan"):
        step(agent, 0, 1, float("nan"), 1)
    assert torch.equal(agent.table.values, before)


@pytest.mark.parametrize(
    "observations, actions, message",
    [
        (spaces.Box(-1.0, 1.0, (2,)), spaces.Discrete(2), "'state' is box"),
        (spaces.Discrete(3), spaces.Box(-1.0, 1.0, (2,)), "'action' is box"),
        (spaces.Discrete(3), spaces.MultiDiscrete([2, 2]), "'action' is multi_discrete"),
        (spaces.MultiDiscrete([1000] * 4), spaces.Discrete(2), "A table of 1000000000000 states and 2 actions is too"),
        (spaces.Discrete(3), spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Discrete(2)}), "needs one action"),
    ],
)
def test_what_cannot_be_counted_is_refused(observations: Any, actions: Any, message: str) -> None:
    agent = QLearning()
    with pytest.raises(AgentError, match=message):
        agent.bind_spaces(layout_of(observations, "state"), layout_of(actions, "action"))
    # Nothing is half bound: another environment is still possible.
    agent.bind_spaces(layout_of(spaces.Discrete(3), "state"), layout_of(spaces.Discrete(2), "action"))


def test_models_and_wrong_settings_are_refused() -> None:
    with pytest.raises(AgentError, match=r"QLearning learns a table and takes no models; got \['policy'\]"):
        QLearning({"policy": torch.nn.Linear(1, 1)})
    with pytest.raises(ConfigError, match="TabularCfg.learning_rate is 0.0; expected a value greater than 0.0"):
        SARSA(cfg=TabularCfg(learning_rate=0.0))
