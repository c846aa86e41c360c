"""``RslRlVecEnvWrapper`` over a cart-pole on Genesis itself."""

from typing import Any, Dict, Iterator, List

import pytest
import torch

pytest.importorskip("genesis")

from AquaML.environment.checker import check_env
from AquaML.environment.rsl_rl_envs import RslRlVecEnvWrapper
from AquaML.environment.wrap import wrap_env
from benchmarks.simulators.task import train
from tests.simulators.genesis_cartpole import GenesisCartpole

pytestmark = pytest.mark.simulator

NUMBER = 8
LIMIT = 15
STEPS = 80


class StaleCartpole(GenesisCartpole):
    """Writes time limits at resets alone, as environments after legged_gym do."""

    def _end_episodes(self, fallen: torch.Tensor) -> None:
        before = self.extras.get("time_outs")
        super()._end_episodes(fallen)
        if before is not None and not self.reset_buf.any():
            self.extras["time_outs"] = before


@pytest.fixture(scope="module")
def simulator() -> Iterator[GenesisCartpole]:
    """One scene for most tests: building another takes seconds."""
    environment = GenesisCartpole(NUMBER, seconds=LIMIT * 0.02, noise=0.1)
    yield environment
    environment.close()


def actions_of(step: int) -> torch.Tensor:
    """Half of the carts are driven to one side until their poles fall, the others hardly at all."""
    force = 0.02 * torch.sin(torch.arange(NUMBER) + 0.3 * step)
    force[::2] += 0.6
    return force.unsqueeze(1)


def play_bare(environment: GenesisCartpole, seed: int, steps: int = STEPS) -> List[Dict[str, Any]]:
    """Step the simulator without any wrapper and copy what it returned."""
    torch.manual_seed(seed)
    observations, _ = environment.reset()
    rows: List[Dict[str, Any]] = [{"state": observations["policy"].clone()}]
    for step in range(steps):
        observations, rewards, done, extras = environment.step(actions_of(step))
        rows.append(
            {
                "state": observations["policy"].clone(),
                "rewards": rewards.clone(),
                "done": done.clone(),
                "over": extras["time_outs"].clone() != 0,
                "episode": dict(extras["episode"]),
            }
        )
    return rows


def test_the_checker_finds_nothing(simulator: GenesisCartpole) -> None:
    check_env(RslRlVecEnvWrapper(simulator), steps=100)


def test_what_the_wrapper_says_of_itself(simulator: GenesisCartpole) -> None:
    info = RslRlVecEnvWrapper(simulator, clip_actions=1.0).getEnvInfo()
    assert list(info["observation_cfg"]) == ["state"] and info["observation_cfg"]["state"]["shape"] == (5,)
    assert info["action_cfg"]["action"]["shape"] == (1,) and info["action_cfg"]["action"]["high"] == 1.0
    assert (info["num_envs"], info["max_episode_length"]) == (NUMBER, LIMIT)
    assert not info["gives_final_observation"]


def test_the_simulator_is_recognised(simulator: GenesisCartpole) -> None:
    assert type(wrap_env(simulator)) is RslRlVecEnvWrapper


@pytest.mark.parametrize("kind", [GenesisCartpole, StaleCartpole])
def test_steps_are_those_of_the_simulator(simulator: GenesisCartpole, kind: Any) -> None:
    other = simulator if kind is GenesisCartpole else kind(NUMBER, seconds=LIMIT * 0.02, noise=0.1)
    bare = play_bare(simulator, seed=3)
    wrapper = RslRlVecEnvWrapper(other)
    states, _ = wrapper.reset(seed=3)
    assert torch.equal(states["state"], bare[0]["state"])
    kinds = torch.zeros(2, dtype=torch.long)
    for step in range(STEPS):
        observations, rewards, terminated, truncated, infos = wrapper.step({"action": actions_of(step)})
        expected = bare[step + 1]
        # The observation before and the one after, read now: the simulator's own buffers have moved on.
        assert torch.equal(states["state"], bare[step]["state"])
        assert torch.equal(observations["state"], expected["state"])
        assert torch.equal(rewards[:, 0], expected["rewards"])
        assert torch.equal(truncated[:, 0], expected["done"] & expected["over"])
        assert torch.equal(terminated[:, 0], expected["done"] & ~expected["over"])
        assert infos["final_obs"] is None and infos["valid"] is None
        kinds += torch.tensor([int(terminated.sum()), int(truncated.sum())])
        states = observations
    assert kinds.min() >= NUMBER
    if other is not simulator:
        other.close()


def test_poles_that_fall_are_terminated_and_those_that_stand_are_truncated(simulator: GenesisCartpole) -> None:
    wrapper = RslRlVecEnvWrapper(simulator)
    wrapper.reset(seed=0)
    ages = torch.zeros((NUMBER, 1), dtype=torch.long)
    for step in range(STEPS):
        _, rewards, terminated, truncated, _ = wrapper.step({"action": actions_of(step)})
        ages += 1
        assert not (terminated & truncated).any()
        assert torch.equal(truncated, (ages == LIMIT) & ~terminated)
        # A pole that stands upright in the middle is worth 0.04 a step; the reward is the old episode's last.
        assert (rewards < 0.04).all() and (rewards > 0.02).all()
        ages[terminated | truncated] = 0


def test_a_fall_at_the_time_limit_is_terminated(simulator: GenesisCartpole) -> None:
    wrapper = RslRlVecEnvWrapper(simulator)
    wrapper.reset(seed=0)
    simulator.episode_length_buf[:] = LIMIT - 1
    angles = torch.zeros((NUMBER, 2))
    angles[::2, simulator.pole] = 0.5
    simulator.robot.set_dofs_position(angles, [simulator.cart, simulator.pole])
    _, _, terminated, truncated, _ = wrapper.step({"action": torch.zeros(NUMBER, 1)})
    fallen = torch.arange(NUMBER).unsqueeze(1) % 2 == 0
    assert torch.equal(terminated, fallen) and torch.equal(truncated, ~fallen)


def test_what_was_returned_stays_although_the_simulator_writes_into_its_buffers(simulator: GenesisCartpole) -> None:
    wrapper = RslRlVecEnvWrapper(simulator)
    states, _ = wrapper.reset(seed=0)
    held: List[Any] = []
    moved = 0
    for step in range(30):
        simulators = simulator.rew_buf.clone()
        observations, rewards, terminated, truncated, _ = wrapper.step({"action": actions_of(step)})
        moved += not torch.equal(simulator.rew_buf, simulators)
        assert all(torch.equal(value, copy) for value, copy in held)
        tensors = [observations["state"], rewards, terminated, truncated]
        held = [(value, value.clone()) for value in tensors]
    assert moved == 30
    simulator.rew_buf.fill_(77.0)
    simulator.obs_buf.fill_(77.0)
    assert all(torch.equal(value, copy) for value, copy in held)


def test_the_same_seed_gives_the_same_run(simulator: GenesisCartpole) -> None:
    wrapper = RslRlVecEnvWrapper(simulator)
    runs = []
    for seed in (5, 5, 6):
        rows = [wrapper.reset(seed=seed)[0]["state"].clone()]
        rows += [wrapper.step({"action": actions_of(step)})[0]["state"].clone() for step in range(STEPS)]
        runs.append(torch.stack(rows))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_the_log_comes_once_with_each_step_that_ends_episodes(simulator: GenesisCartpole) -> None:
    bare = play_bare(simulator, seed=1)
    wrapper = RslRlVecEnvWrapper(simulator)
    _, infos = wrapper.reset(seed=1)
    assert infos["log"] == {}
    logged = 0
    for step in range(STEPS):
        infos = wrapper.step({"action": actions_of(step)})[4]
        numbers = {name: float(value) for name, value in infos["log"].items()}
        if bool(bare[step + 1]["done"].any()):
            assert numbers == pytest.approx(bare[step + 1]["episode"])
            logged += 1
        else:
            assert numbers == {}
    assert 5 < logged < 0.75 * STEPS


def test_first_episodes_of_random_age_spread_the_time_limits(simulator: GenesisCartpole) -> None:
    wrapper = RslRlVecEnvWrapper(simulator, random_initial_length=True)
    wrapper.reset(seed=2)
    ages = simulator.episode_length_buf.clone()
    assert len(ages.unique()) > NUMBER // 2 and int(ages.min()) >= 0 and int(ages.max()) < LIMIT
    ended = torch.zeros(NUMBER, dtype=torch.long)
    for step in range(1, LIMIT + 1):
        _, _, terminated, truncated, _ = wrapper.step({"action": torch.zeros(NUMBER, 1)})
        over = truncated[:, 0] & (ended == 0)
        assert torch.equal(ages[over].long() + step, torch.full((int(over.sum()),), LIMIT))
        ended[(terminated | truncated)[:, 0] & (ended == 0)] = step
    assert (ended > 0).all()
    wrapper.evaluating = True
    wrapper.reset(seed=2)
    assert int(simulator.episode_length_buf.max()) == 0


def test_a_finite_horizon_makes_time_limits_terminal(simulator: GenesisCartpole) -> None:
    wrapper = RslRlVecEnvWrapper(simulator, finite_horizon=True)
    bare = play_bare(simulator, seed=4, steps=40)
    wrapper.reset(seed=4)
    for step in range(40):
        _, _, terminated, truncated, _ = wrapper.step({"action": actions_of(step)})
        assert torch.equal(terminated[:, 0], bare[step + 1]["done"]) and not truncated.any()


def test_closing_twice_is_no_accident() -> None:
    wrapper = RslRlVecEnvWrapper(GenesisCartpole(2))
    wrapper.reset()
    wrapper.close()
    wrapper.close()
    assert wrapper.environment.scene is None


@pytest.mark.slow
def test_ppo_learns_to_balance_the_pole() -> None:
    from benchmarks.simulators.genesis import TASKS

    task = TASKS["cart-pole"]
    score = train(task, seed=0)
    score.env.close()
    assert score.untrained < task.must / 2 and score.trained >= task.must
