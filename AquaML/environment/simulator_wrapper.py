"""What wrappers of simulators that step many environments with tensors have in common."""

import abc
from typing import Any, Dict, Optional, Sequence, Tuple

import torch

from AquaML.environment.base import EnvironmentWrapper, StepResult, TensorDict
from AquaML.environment.leaf_names import flat_layout
from AquaML.environment.simulator_buffers import FreshScalars, SimulatorBuffer, SimulatorBuffers
from AquaML.environment.spaces import SpaceLayout
from AquaML.environment.tensor_actions import TensorActions
from AquaML.errors import EnvironmentContractError


class SimulatorWrapper(EnvironmentWrapper):
    """Shows a batch of environments that a simulator steps with tensors, on its own device and without waiting for it.

    A subclass writes :meth:`restart` and :meth:`advance`, which put what the simulator returned into a
    :class:`~AquaML.environment.simulator_buffers.SimulatorBuffer`: that copies, so the simulator may reuse its own.

    Args:
        environment: What the user built.
        name: Its name, for run folders and messages.
        num_envs: Number of environments.
        observations: The observation space's leaves; their structure is the simulator's own nesting.
        actions: The action space's leaves.
        device: The simulator's device; actions go there, and results stay there until :meth:`to` says otherwise.
        action_bounds: ``"clip"`` cuts Box actions to their bounds, ``"rescale"`` maps -1 … 1 to them, ``"none"`` passes
            them on. The agent's tensors are never changed.
        finite_horizon: True if the time limit is part of the task: reaching it then counts as termination.

    Raises:
        EnvironmentContractError: There are no environments.
        SpaceError: ``action_bounds`` does not fit the action space.
    """

    def __init__(
        self,
        environment: Any,
        name: str,
        num_envs: int,
        observations: SpaceLayout,
        actions: SpaceLayout,
        device: Any,
        action_bounds: str = "clip",
        finite_horizon: bool = False,
    ) -> None:
        super().__init__()
        if num_envs < 1:
            raise EnvironmentContractError("'{}' has {} environments; expected at least 1.".format(name, num_envs))
        self.environment = environment
        self.name = name
        self.num_envs = int(num_envs)
        # The simulator's nesting is its own; what a policy is fed with on a robot goes by AquaML's names.
        self.observation_layout = flat_layout(observations)
        self._nested_layout = observations
        self.action_layout = actions
        self.action_bounds = action_bounds
        self.device = self.simulator_device = torch.device(device)
        self._actions = TensorActions(actions, action_bounds, self.simulator_device)
        self._finite_horizon = finite_horizon
        self._started = self._closed = False
        self._allocate()

    def _allocate(self) -> None:
        self._buffers = SimulatorBuffers(self._nested_layout, self.num_envs, self.device)
        self._fresh_scalars = FreshScalars(self.num_envs, self.device)
        # Next-step reset: where the next row only resets.
        self._resets_next = torch.zeros((self.num_envs, 1), dtype=torch.bool, device=self.device)

    # ------------------------------------------------------------------ what a subclass writes

    @abc.abstractmethod
    def restart(self, seed: Optional[int], out: SimulatorBuffer) -> None:
        """Start a new episode everywhere and store the first observations.

        Args:
            seed: Seed of the simulator's random numbers; None: they go on.
            out: Where to store.
        """

    @abc.abstractmethod
    def advance(self, actions: Any, out: SimulatorBuffer) -> None:
        """Step the simulator and store observations, rewards, flags, final observations and scalars.

        Args:
            actions: In the simulator's own nesting, types and shapes, on its device; nobody else has them.
            out: Where to store.
        """

    # ------------------------------------------------------------------ the step contract

    def to(self, device: torch.device) -> None:
        """Move what is returned from now on to a device; the simulator stays on its own."""
        if device != self.device:
            super().to(device)
            self._allocate()

    def reset(self, seed: Optional[int] = None) -> Tuple[TensorDict, Dict[str, Any]]:
        """Start a new episode everywhere; see :meth:`EnvironmentWrapper.reset`."""
        self._require_open()
        out = self._buffers.next()
        self._resets_next.zero_()
        with torch.no_grad():
            self.restart(seed, out)
        self._started = True
        return dict(out.observations), {"final_obs": None, "valid": None, "log": {}}

    def step(self, actions: Any) -> StepResult:
        """Advance every environment; see :meth:`EnvironmentWrapper.step`."""
        self._require_open()
        if not self._started:
            raise EnvironmentContractError("'{}' was stepped before its first reset; call reset().".format(self.name))
        native = self._actions(self._named_actions(actions))
        out = self._buffers.next()
        with torch.no_grad():
            self.advance(native, out)
            if self.autoreset == "next_step":
                self._mask_resets(out)
            elif self.gives_final_observation:
                self._expect_final(out)
        if self._finite_horizon:
            out.terminated |= out.truncated
            out.truncated.zero_()
        infos = {
            "final_obs": None if out.final is None else dict(out.final),
            "valid": out.valid if self.has_invalid_rows else None,
            "log": out.log,
        }
        return dict(out.observations), out.rewards, out.terminated, out.truncated, infos

    def _mask_resets(self, out: SimulatorBuffer) -> None:
        """Mark rows whose step did nothing but reset: those after the end of an episode."""
        torch.logical_not(self._resets_next, out=out.valid)
        self._resets_next.copy_(out.done)
        out.terminated &= out.valid
        out.truncated &= out.valid

    def _expect_final(self, out: SimulatorBuffer) -> None:
        """Look once whether the last observation of an episode is there when one ends; reads nothing afterwards."""
        if out.final is not None:
            self._final_was_seen = True
        elif not self._final_was_seen and bool(out.done.any()):
            raise EnvironmentContractError(
                "An episode of '{}' ended, but its last observation was not handed over, though {} says "
                "gives_final_observation=True. Turn that off, or have the simulator hand it over.".format(
                    self.name, type(self).__name__
                )
            )

    _final_was_seen = False

    def close(self) -> None:
        """Close the simulator if it can be closed."""
        if not self._closed:
            self._closed = True
            close = getattr(self.environment, "close", None)
            if callable(close):
                close()

    def render(self) -> Any:
        """Show the simulator, or return its picture.

        Raises:
            EnvironmentContractError: The simulator has no ``render``.
        """
        render = getattr(self.environment, "render", None)
        if not callable(render):
            raise EnvironmentContractError("'{}' has no render().".format(self.name))
        return render()

    def _require_open(self) -> None:
        if self._closed:
            raise EnvironmentContractError("'{}' is closed; make a new wrapper.".format(self.name))

    # ------------------------------------------------------------------ pieces that several simulators share

    def _scalars(self, scalars: Any, leave_out: Sequence[str] = ()) -> Dict[str, torch.Tensor]:
        """Return what a simulator logs anew in this step."""
        return self._fresh_scalars.take(scalars, leave_out)

    def _spread_ages(self, counter: torch.Tensor) -> None:
        """Let the first episodes begin at random ages, so that time limits do not all fall into one step."""
        if self.max_episode_length is not None and not self.evaluating:
            counter.copy_(torch.randint_like(counter, high=self.max_episode_length))


def require_attributes(environment: Any, names: Tuple[str, ...], wrapper: str) -> None:
    """Check that a simulator has what a wrapper reads.

    Raises:
        EnvironmentContractError: Names what is missing.
    """
    missing = [name for name in names if not hasattr(environment, name)]
    if missing:
        raise EnvironmentContractError(
            "{} has no {}; {} reads {}.".format(
                type(environment).__name__, ", ".join(missing), wrapper, ", ".join(names)
            )
        )


def seed_torch(seed: Optional[int]) -> None:
    """Seed torch's global generators, from which several simulators draw; None leaves them as they are."""
    if seed is not None:
        torch.manual_seed(seed)
