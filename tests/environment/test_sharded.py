"""Worker processes: equal to stepping in turn, and never a hang, whatever happens in them."""

import os
import signal
import subprocess
import sys
import time
from typing import Any, Dict, List

import numpy as np
import pytest
import torch
from sharded_envs import BreaksWhenMade, Calm, DiesWhenMade, Nested, NoTorch, Troubled

from AquaML.environment.gymnasium_envs import GymnasiumWrapper
from AquaML.errors import EnvError, EnvironmentContractError, EnvironmentFailedError, MissingDependencyError

# Windows has no SIGKILL or SIGSTOP to send; what needs no signal is proven there by the same code on other systems.
if sys.platform == "win32":
    pytest.skip("sends POSIX signals", allow_module_level=True)


def sharded(env: Any, num_envs: int = 5, workers: int = 2, **kwargs: Any) -> GymnasiumWrapper:
    return GymnasiumWrapper(env, num_envs=num_envs, vectorization="sharded", workers=workers, **kwargs)


def pids(wrapper: GymnasiumWrapper) -> List[int]:
    return [worker.process.pid for worker in wrapper._backend._workers]  # type: ignore[attr-defined]


def alive(pid: int) -> bool:
    try:
        with open("/proc/{}/stat".format(pid)) as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def none_left(numbers: List[int], seconds: float = 5.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(alive(number) for number in numbers):
            return True
        time.sleep(0.02)
    return False


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks processes up in /proc")


def random_actions(generator: torch.Generator, num_envs: int) -> Dict[str, torch.Tensor]:
    return {
        "move": torch.rand(num_envs, 2, generator=generator) * 3 - 1.5,
        "grip": torch.randint(0, 3, (num_envs, 1), generator=generator),
    }


def assert_same(ours: Any, theirs: Any, step: int) -> None:
    done = (theirs[2] | theirs[3])[:, 0]
    for name, values in theirs[0].items():
        assert torch.equal(ours[0][name], values), (step, name)
    for one, other in zip(ours[1:4], theirs[1:4]):
        assert torch.equal(one, other), step
    assert (ours[4]["final_obs"] is None) == (theirs[4]["final_obs"] is None)
    for name, values in (theirs[4]["final_obs"] or {}).items():
        assert torch.equal(ours[4]["final_obs"][name][done], values[done]), (step, name)
    assert set(ours[4]["log"]) == set(theirs[4]["log"])
    for name, values in theirs[4]["log"].items():
        assert np.array_equal(ours[4]["log"][name].numpy(), values.numpy(), equal_nan=True), (step, name)


def test_equal_to_stepping_in_turn_and_resumed_exactly() -> None:
    ours, theirs = sharded(Nested), GymnasiumWrapper(Nested, num_envs=5)
    assert ours.getEnvInfo()["vectorization"] == {"backend": "sharded", "passed_over": {}}
    generator = torch.Generator().manual_seed(0)
    for seed in (7, None):
        first, second = ours.reset(seed=seed)[0], theirs.reset(seed=seed)[0]
        assert all(torch.equal(first[name], second[name]) for name in second)
        ended = 0
        for step in range(60):
            actions = random_actions(generator, 5)
            result = theirs.step(actions)
            assert_same(ours.step(actions), result, step)
            ended += int((result[2] | result[3]).sum())
        assert ended > 10
    state = ours.get_state() or {}
    # The state is that of stepping in turn, so the number of workers is no part of it.
    assert differences(dict(state, vectorization="sync"), theirs.get_state()) == []
    resumed = [sharded(Nested), sharded(Nested, workers=3), GymnasiumWrapper(Nested, num_envs=5), sharded(Nested)]
    for wrapper, saved in zip(resumed, [state, state, state, theirs.get_state() or {}]):
        assert wrapper.set_state(saved)
    for step in range(20):
        actions = random_actions(generator, 5)
        expected = theirs.step(actions)
        for wrapper in resumed:
            assert_same(wrapper.step(actions), expected, step)
    processes = [number for wrapper in (ours, resumed[0], resumed[1], resumed[3]) for number in pids(wrapper)]
    assert len(set(processes)) == 9
    for wrapper in [ours] + resumed:
        wrapper.close()
    assert none_left(processes)


def differences(one: Any, other: Any, place: str = "state") -> List[str]:
    if isinstance(one, dict):
        if one.keys() != other.keys():
            return [place]
        return [line for key in one for line in differences(one[key], other[key], "{}.{}".format(place, key))]
    if isinstance(one, list):
        if len(one) != len(other):
            return [place]
        return [line for i, item in enumerate(one) for line in differences(item, other[i], "{}.{}".format(place, i))]
    return [] if np.array_equal(one, other) and np.asarray(one).dtype == np.asarray(other).dtype else [place]


@needs_proc
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_signals_to_all_processes_leave_the_workers_to_this_one(name: str) -> None:
    wrapper = sharded(Nested)
    first, _ = wrapper.reset(seed=0)
    numbers = pids(wrapper)
    for number in numbers:
        os.kill(number, getattr(signal, name))
    time.sleep(0.1)
    wrapper.step(random_actions(torch.Generator().manual_seed(0), 5))
    wrapper.close()
    assert none_left(numbers)


def test_workers_import_no_torch_and_share_the_work() -> None:
    wrapper = sharded(NoTorch, num_envs=3)
    wrapper.reset(seed=0)
    _, rewards, _, _, infos = wrapper.step(torch.zeros(3, 1))
    assert rewards[:, 0].tolist() == [0.0, 0.0, 0.0]
    processes = infos["log"]["pid"][:, 0].tolist()
    assert processes[0] != processes[1] == processes[2] and os.getpid() not in processes
    wrapper.close()


def test_an_exception_names_the_environment() -> None:
    wrapper = sharded(Troubled)
    wrapper.reset(seed=0)
    numbers = pids(wrapper)
    actions = torch.zeros(5, 1)
    actions[3] = -1.0
    with pytest.raises(EnvError, match=r"^Environment 3 raised ValueError in step\(\): the arm is broken$") as caught:
        wrapper.step(actions)
    assert "in step" in str(caught.value.__cause__) and "Traceback" in str(caught.value.__cause__)
    assert none_left(numbers)
    with pytest.raises(EnvironmentFailedError, match=r"have ended; make a new GymnasiumWrapper"):
        wrapper.step(actions)
    wrapper.close()


def test_the_same_exception_in_this_process() -> None:
    wrapper = GymnasiumWrapper(Troubled, num_envs=5)
    wrapper.reset(seed=0)
    actions = torch.zeros(5, 1)
    actions[3] = -1.0
    with pytest.raises(
        EnvironmentFailedError, match=r"^Environment 3 raised ValueError in step\(\): the arm is broken$"
    ):
        wrapper.step(actions)


@needs_proc
def test_a_hang_names_the_environment_and_ends() -> None:
    wrapper = sharded(Troubled, step_timeout=1.0)
    wrapper.reset(seed=0)
    numbers = pids(wrapper)
    actions = torch.zeros(5, 1)
    actions[3] = -2.0
    begin = time.monotonic()
    with pytest.raises(EnvironmentFailedError, match=r"step_timeout\) from worker 1 .*while environment 3 was stepped"):
        wrapper.step(actions)
    assert time.monotonic() - begin < 6.0
    assert none_left(numbers)
    wrapper.close()


@needs_proc
@pytest.mark.parametrize("busy", [True, False])
def test_a_killed_worker_is_told(busy: bool) -> None:
    wrapper = sharded(Troubled)
    wrapper.reset(seed=0)
    numbers = pids(wrapper)
    actions = torch.zeros(5, 1)
    if busy:
        actions[4] = -2.0
        killer = subprocess.Popen(["/bin/sh", "-c", "sleep 0.7; kill -9 {}".format(numbers[1])])
        message = r"Worker 1 \(environments 2 to 4\) died in step\(\) while environment 4 was .*exit code -9.*memory"
    else:
        os.kill(numbers[1], signal.SIGKILL)
        message = r"Worker 1 \(environments 2 to 4\) died (in|before) step\(\) \(exit code -9"
    begin = time.monotonic()
    with pytest.raises(EnvironmentFailedError, match=message):
        wrapper.step(actions)
    assert time.monotonic() - begin < 5.0
    assert none_left(numbers)
    if busy:
        killer.wait()


PARENT = """
import sys, time
sys.path.insert(0, {folder!r})
import torch
from sharded_envs import Troubled
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
wrapper = GymnasiumWrapper(Troubled, num_envs=5, vectorization="sharded", workers=2)
wrapper.reset(seed=0)
print(*[worker.process.pid for worker in wrapper._backend._workers], flush=True)
actions = torch.zeros(5, 1)
actions[4] = -2.0
{action}
"""


@needs_proc
@pytest.mark.parametrize("action", ["wrapper.step(actions)", "sys.exit(0)"])
def test_workers_do_not_outlive_this_process(action: str) -> None:
    folder = os.path.dirname(os.path.abspath(__file__))
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(folder=folder, action=action)],
        stdout=subprocess.PIPE,
        universal_newlines=True,
    )
    assert parent.stdout is not None
    numbers = [int(number) for number in parent.stdout.readline().split()]
    assert len(numbers) == 2
    if "exit" not in action:
        time.sleep(0.3)
        parent.send_signal(signal.SIGKILL)
    parent.wait(timeout=20)
    parent.stdout.close()
    assert none_left(numbers)


def test_what_cannot_go_to_another_process_is_told() -> None:
    with pytest.raises(EnvironmentContractError, match=r"an environment's id, or a function at the top level"):
        sharded(lambda: Calm())


@pytest.mark.parametrize(
    "made, error, message",
    [
        (BreaksWhenMade, EnvironmentFailedError, r"Worker 0 .* failed while it started: OSError: no licence"),
        (DiesWhenMade, EnvironmentFailedError, r"died while it started \(exit code 3\).*__name__ == '__main__'"),
    ],
)
def test_workers_that_cannot_start(made: Any, error: Any, message: str, monkeypatch: Any) -> None:
    monkeypatch.setenv("AQUAML_TEST_MAIN", str(os.getpid()))
    with pytest.raises(error, match=message):
        sharded(made, workers=1)


SCRIPT = """
import os
import torch
import gymnasium
from AquaML.environment.gymnasium_envs import GymnasiumWrapper
print("ran in", "main" if __name__ == "__main__" else "worker", flush=True)
{definition}
{guard}
    wrapper = GymnasiumWrapper({env}, num_envs=2, vectorization="sharded", workers=1)
    wrapper.reset(seed=0)
    print(float(wrapper.step(torch.zeros(2, 1))[1].sum()) < 0)
    wrapper.close()
"""


@pytest.mark.parametrize(
    "definition, guard, env, runs",
    [
        ("", "if True:", "'Pendulum-v1'", 1),
        (
            "def make():\n    return gymnasium.make('Pendulum-v1')",
            "if __name__ == '__main__':",
            "make",
            2,
        ),
    ],
    ids=["an id needs no guard", "a function in the script does"],
)
def test_scripts(definition: str, guard: str, env: str, runs: int, tmp_path: Any) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(definition=definition, guard=guard, env=env))
    done = subprocess.run(
        [sys.executable, str(script)],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("ran in") == runs and "True" in done.stdout


def test_misuse() -> None:
    for arguments, message in (
        (dict(step_timeout=1.0), r"step_timeout=1.0 needs worker processes.*vectorization='sharded'"),
        (dict(vectorization="sharded", step_timeout=0), r"step_timeout is 0; expected None or a positive number"),
        (dict(vectorization="sharded", workers=0), r"workers is 0; expected None or an integer of at least 1"),
        (dict(vectorization="sharded", render_mode="rgb_array"), r"shows no picture"),
        (dict(vectorization="shard"), r"vectorization is 'shard'\. Did you mean 'sharded'\?"),
    ):
        with pytest.raises(EnvironmentContractError, match=message):
            GymnasiumWrapper("Pendulum-v1", **arguments)  # type: ignore[arg-type]
    with pytest.raises((EnvironmentContractError, MissingDependencyError), match=r"NoSuchTask-v0"):
        sharded("NoSuchTask-v0")


def test_spawned_environments_start_no_processes() -> None:
    wrapper = sharded("CartPole-v1", num_envs=2)
    assert wrapper.spawn(3).getEnvInfo()["vectorization"]["backend"] == "batched"
    wrapper.close()
