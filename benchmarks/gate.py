"""Where a contender's own loop stops between two units of work, inside its process."""

import json
import os
import sys
import time
from typing import Any, Callable, Dict, List, Optional, TextIO

from benchmarks.specification import Specification


class Channel:
    """Lines of JSON to and from the parent; what the libraries print goes to a file instead."""

    def __init__(self, output: str) -> None:
        """Keep the standard output for replies, and send what is printed to a file.

        Args:
            output: Path of that file.
        """
        self._replies: TextIO = os.fdopen(os.dup(1), "w")
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        os.close(descriptor)

    def send(self, reply: Dict[str, Any]) -> None:
        """Send one reply."""
        self._replies.write(json.dumps(reply) + "\n")
        self._replies.flush()

    def receive(self) -> str:
        """Wait for a command, without using the processor; the end of the pipe means ``"quit"``."""
        return sys.stdin.readline().strip() or "quit"


class Gate:
    """Cuts a library's own, unchanged training loop into timed units, from within the environment's step.

    The loop is let through ``vector_steps`` steps, and then held before the next one: a unit begins and ends between
    the choice of an action and its execution, so it holds exactly one rollout and one update (times
    ``iterations_per_unit``), whatever library runs. Nothing of the library is replaced or copied.

    Args:
        channel: To the parent.
        specification: Of this contender.

    Attributes:
        introduction: What the first reply says: settings, versions, number of parameters.
        actions: The arguments of the steps of a unit, where :attr:`records_actions`.
        after_unit: Called after each unit, outside its time; returns what to add to the reply.
        mean_reward: Returns the mean reward of what ``step`` returned.
    """

    def __init__(self, channel: Channel, specification: Specification) -> None:
        self.introduction: Dict[str, Any] = {}
        self.actions: List[Any] = []
        self.after_unit: Optional[Callable[[], Dict[str, float]]] = None
        self.record_action: Optional[Callable[[Any], Any]] = None
        self.mean_reward: Callable[[Any], float] = _second_mean
        self._channel = channel
        self._specification = specification
        self._steps = 0
        self._begun: Optional[float] = None
        self._ended_step = 0.0
        self._phases: Dict[str, float] = {}

    def attach(self, environment: Any, method: str = "step") -> None:
        """Put the gate before an environment's step."""
        inner = getattr(environment, method)

        def step(*arguments: Any, **named: Any) -> Any:
            self.before_step()
            if self.record_action is not None:
                self.actions.append(self.record_action(*arguments, **named))
            begun = time.perf_counter()
            result = inner(*arguments, **named)
            self._ended_step = time.perf_counter()
            self._phases["environment"] += self._ended_step - begun
            if self._specification.measure_rewards:
                self._phases["reward"] += self.mean_reward(result) / self._specification.vector_steps
            return result

        setattr(environment, method, step)

    def loop(self, work: Callable[[], Any]) -> None:
        """Do one vector step's worth of work again and again; for contenders without a loop of their own."""
        while True:
            self.before_step()
            work()

    def before_step(self) -> None:
        """Note where a rollout ends, and wait for the parent where a unit ends."""
        now = time.perf_counter()
        if self._begun is not None and self._steps % self._specification.rollout == 0:
            self._phases["update"] += now - self._ended_step
        if self._steps % self._specification.vector_steps == 0:
            self._end_unit(now)
        self._steps += 1

    def add(self, phase: str, seconds: float) -> None:
        """Charge seconds to a phase of the present unit."""
        self._phases[phase] = self._phases.get(phase, 0.0) + seconds

    def _end_unit(self, now: float) -> None:
        if self._begun is None:
            self._channel.send(dict(self.introduction, ready=True))
        else:
            reply = dict(self._phases, seconds=now - self._begun, steps=self._specification.environment_steps)
            if self.after_unit is not None:
                reply.update(self.after_unit())
            self._channel.send(reply)
        self.actions = []
        command = self._channel.receive()
        if command != "unit":
            # The library's own clean-up may write and draw for seconds; nobody waits for it.
            os._exit(0)
        self._phases = {"environment": 0.0, "update": 0.0}
        if self._specification.measure_rewards:
            self._phases["reward"] = 0.0
        self._begun = self._ended_step = time.perf_counter()


def _second_mean(result: Any) -> float:
    return float(result[1].mean())
