"""Protections against the traps of simulators."""

from typing import List

from benchmarks.reliability.protection import Protection

_WRAPPER = "AquaML/environment/simulator_wrapper.py"
_BUFFERS = "AquaML/environment/simulator_buffers.py"
_ISAAC_GYM = "AquaML/environment/isaac_gym_envs.py"
_MJLAB = "AquaML/environment/isaac_lab_envs.py"
_BRAX = "AquaML/environment/brax_envs.py"
_PETTINGZOO = "AquaML/environment/pettingzoo_envs.py"
_TESTS = "tests/environment/simulators/"
_CONFORMANCE = _TESTS + "test_conformance.py::"
_SCRIPT = _CONFORMANCE + "test_transitions_are_those_of_the_script"
_BOOTSTRAP = _TESTS + "test_bootstrap.py::"

OF_SIMULATORS: List[Protection] = [
    Protection(
        "rows that only reset are no data",
        _WRAPPER,
        "        torch.logical_not(self._resets_next, out=out.valid)\n",
        "        out.valid.fill_(True)\n",
        _SCRIPT + "[isaac_gym post_physics]",
    ),
    Protection(
        "a reset row of a simulator reaches no update",
        _WRAPPER,
        "        torch.logical_not(self._resets_next, out=out.valid)\n",
        "        out.valid.fill_(True)  # as if all were data\n",
        _BOOTSTRAP + "test_what_a_row_that_only_resets_holds_reaches_nothing[isaac_gym post_physics]",
    ),
    Protection(
        "observations are copied out of the simulator's buffers",
        _BUFFERS,
        "            stored.copy_(shaped, non_blocking=True)\n",
        "            target[name] = shaped\n",
        _SCRIPT + "[isaac_lab direct]",
    ),
    Protection(
        "rewards are copied out of the simulator's buffer",
        _BUFFERS,
        '        self.rewards.copy_(self._column("rewards", rewards), non_blocking=True)\n',
        '        self.rewards = self._column("rewards", rewards)\n',
        _CONFORMANCE + "test_what_was_returned_stays_until_the_second_next_step[legged_gym 5]",
    ),
    Protection(
        "a stale time limit counts only where an episode ended",
        _BUFFERS,
        "        self.truncated &= self.done\n",
        "",
        _SCRIPT + "[legged_gym 5]",
    ),
    Protection(
        "an episode that falls at its time limit has terminated",
        _BUFFERS,
        "        torch.bitwise_xor(self.done, self.terminated, out=self.truncated)\n",
        "",
        _SCRIPT + "[isaac_lab manager final_obs]",
    ),
    Protection(
        "time limits of same-step tasks are known by their progress",
        _ISAAC_GYM,
        "            reached = ages >= last - 1\n",
        "            reached = ages < 0\n",
        _TESTS + "test_isaac_gym.py::test_time_limits_that_a_same_step_task_does_not_report_are_known_by_its_progress",
    ),
    Protection(
        "the first observation is computed by a step",
        _ISAAC_GYM,
        "            observations = task.step(task.zero_actions())[0]\n",
        "            observations = task.reset()\n",
        _TESTS + "test_isaac_gym.py::test_the_first_observation_is_one_and_not_the_zeros_that_the_task_shows",
    ),
    Protection(
        "a last observation is kept before its environment is reset",
        _MJLAB,
        "                out.move_to_final()\n",
        "",
        _SCRIPT + "[mjlab manual]",
    ),
    Protection(
        "a last observation that is promised must come",
        _WRAPPER,
        "                self._expect_final(out)\n",
        "                pass\n",
        _TESTS + "test_simulator_mistakes.py::test_a_promised_last_observation_that_does_not_come_is_an_error",
    ),
    Protection(
        "Isaac Gym comes before torch",
        "AquaML/environment/isaac_gym_import.py",
        '    if "isaacgym" not in sys.modules and "torch" in sys.modules:\n',
        "    if False:\n",
        _TESTS + "test_isaac_gym.py::test_torch_first_is_told_what_to_do",
    ),
    Protection(
        "agents that have ended are no data",
        _PETTINGZOO,
        "        out.valid[:, 0] = ~self._absent\n",
        "        out.valid[:, 0] = True\n",
        _SCRIPT + "[pettingzoo]",
    ),
    Protection(
        "what is logged at a reset counts once",
        _BUFFERS,
        "            if same and (is_tensor or not other_dictionary):\n",
        "            if False:\n",
        _TESTS + "test_simulator_mistakes.py::test_what_is_logged_at_a_reset_counts_once",
    ),
]
