"""Training on a CUDA device: no waiting for it, and the same results as on the CPU."""

from pathlib import Path
from typing import Any, Dict

import pytest
import torch
from device_env import DeviceEnv

import AquaML
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.learning.model import default_models
from AquaML.learning.reinforcement.on_policy.ppo import PPO, PPOCfg
from AquaML.learning.trainers.evaluation import evaluate
from AquaML.learning.trainers.hooks import Hook
from AquaML.learning.trainers.sequential import SequentialTrainer
from AquaML.learning.trainers.trainer_cfg import TrainerConfig
from AquaML.stateful import collect_states

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def trainer(
    device: str = "cuda", env: Any = None, hooks: Any = (), agent: Any = None, **settings: Any
) -> SequentialTrainer:
    AquaML.seed_everything(0)
    env = env or DeviceEnv(64)
    options: Dict[str, Any] = dict(rollouts=16, learning_epochs=2, mini_batches=4, device=device)
    options.update(agent or {})
    made = PPO(default_models(env.getEnvInfo()), PPOCfg(**options))
    cfg = dict(timesteps=64, seed=1, disable_progressbar=True, tensorboard=False, checkpoint_interval=0)
    cfg.update(settings)
    return SequentialTrainer(env, made, TrainerConfig(**cfg), hooks=hooks)


@pytest.mark.parametrize("gives_final", [True, False])
@pytest.mark.parametrize("shared", [True, False])
def test_rollout_and_update_never_wait_for_the_device(gives_final: bool, shared: bool) -> None:
    env = DeviceEnv(64, gives_final_observation=gives_final)
    models = default_models(env.getEnvInfo(), shared=shared)
    agent = PPO(models, PPOCfg(rollouts=16, learning_epochs=2, mini_batches=4, device="cuda"))
    run = SequentialTrainer(env, agent, TrainerConfig(disable_progressbar=True, seed=0))
    run.begin()
    for _ in range(33):  # kernels are loaded and the optimiser has its moments
        run.step()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(48):
            run.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert agent.memory.cursor == (33 + 48) % 16


def test_a_log_is_one_transfer() -> None:
    run = trainer()
    run.begin()
    for _ in range(40):
        run.step()
    torch.cuda.set_sync_debug_mode("warn")
    with pytest.warns(UserWarning) as caught:
        run.log()
    torch.cuda.set_sync_debug_mode("default")
    waits = [item for item in caught if "synchroniz" in str(item.message)]
    assert len(waits) == 1, [str(item.message) for item in waits]
    run.tracker.close()


def test_advantages_and_returns_equal_those_of_the_cpu() -> None:
    states = {}
    for device in ("cpu", "cuda"):
        run = trainer(device)
        run.env.to(run.agent.device)
        run.agent.setup(run.env.getEnvInfo())
        run.agent.prepare_training()
        generator = torch.Generator().manual_seed(3)
        rows = run.agent.memory._tensors
        for tensor in rows.values():
            drawn = torch.rand(tensor.shape, generator=generator)
            tensor.copy_((drawn < 0.05) if tensor.dtype == torch.bool else drawn)
        rows["truncated"] &= ~rows["terminated"]
        run.agent.memory.cursor = 16
        batch = run.agent.prepare_batch(run.agent.memory.rollout())
        states[device] = {name: getattr(batch, name).cpu() for name in ("advantages", "returns", "values", "log_prob")}
    for name, value in states["cpu"].items():
        assert torch.allclose(value, states["cuda"][name], atol=1e-4), name


def test_resume_on_the_device_equals_no_interruption() -> None:
    class StopAt(Hook):
        def on_step(self, trainer: Any) -> None:
            if trainer.timestep == 32:
                trainer.stop("asked to")

    def pendulum(**settings: Any) -> SequentialTrainer:
        return trainer(env=GymnasiumWrapper("Pendulum-v1", num_envs=4), **settings)

    whole = pendulum()
    whole.train()
    pendulum(run_name="parts", hooks=[StopAt()]).train()
    resumed = pendulum(resume="runs/parts")
    resumed.train()
    first, second = collect_states(whole.agent.parts), collect_states(resumed.agent.parts)
    for name in ("policy", "value", "value_normalizer", "observation_normalizer/state"):
        for key, value in first[name]["state"].items():
            assert torch.equal(value, second[name]["state"][key]), (name, key)


def test_an_agent_saved_on_the_device_acts_alike_on_the_cpu() -> None:
    run = trainer(env=GymnasiumWrapper("Pendulum-v1", num_envs=4))
    run.train()
    run.agent.save("agent.aqua")
    models = default_models(GymnasiumWrapper("Pendulum-v1").getEnvInfo())
    other = PPO(models, PPOCfg(device="cpu"))
    other.load("agent.aqua")
    observation = [0.3, -0.4, 1.0]
    assert abs(float(other.predict(observation)[0]) - float(run.agent.predict(observation)[0])) < 1e-5


@pytest.mark.parametrize("precision", [True, "bf16", "fp16"])
def test_mixed_precision_trains(precision: Any) -> None:
    run = trainer(agent={"mixed_precision": precision})
    run.train()
    figures = run.get_status()["figures"]
    assert all(value == value for name, value in figures.items() if name.startswith(("loss/", "policy/")))
    assert all(torch.isfinite(parameter).all() for parameter in run.agent.policy.parameters())


def test_it_learns_and_final_slots_grow_where_rows_were_lost() -> None:
    env = DeviceEnv(256, length=5)
    env.max_episode_length = None  # three or four time limits in every rollout of 16 steps
    run = trainer(env=env, timesteps=640, agent={"learning_rate": 1e-3})
    run.train()
    assert run.agent.final_observations.slots >= 4
    assert evaluate(DeviceEnv(256), run.agent, episodes=256).return_mean > -4.0


def test_gpu_figures_are_logged() -> None:
    run = trainer()
    run.train()
    assert run.get_status()["figures"]["system/gpu_memory_allocated"] > 0.0
    assert Path(run.run_folder, "progress.csv").is_file()
