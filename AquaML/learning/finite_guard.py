"""The guard against numbers that are not finite: where they are looked for, how they are named, and what follows.

A single NaN that reaches a normaliser or an optimiser's moments spoils them for good, so everything is looked at before
anything is changed by it.
"""

import math
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import torch
from loguru import logger

from AquaML.compat import norms_of, skips_by_flag
from AquaML.errors import NonFiniteError, non_finite_numbers

LARGEST = math.sqrt(torch.finfo(torch.float32).max)
"""The largest magnitude that counts as finite, 1.8e19: the square of a larger one overflows float32, and losses and
norms are squares."""

RAISE, SKIP, ROLLBACK = "raise", "skip", "rollback"


class Numbers(NamedTuple):
    """Numbers that must be finite.

    Attributes:
        site: What they are, as in :class:`~AquaML.errors.NonFiniteError`.
        key: Their name.
        values: ``(T, num_envs, *shape)``, of a floating type.
        counts: ``(T, num_envs, 1)`` bool, rows that have a say; None: all.
        times: ``(T, num_envs)``, in which vector step of the rollout each row came up; None: one after the other, from
            ``first``.
        first: The vector step of the first row.
    """

    site: str
    key: str
    values: torch.Tensor
    counts: Optional[torch.Tensor] = None
    times: Optional[torch.Tensor] = None
    first: int = 0


class _Fault(NamedTuple):
    time: int
    environments: Tuple[int, ...]
    value: float
    numbers: Numbers


def of_step(site: str, named: Mapping[str, torch.Tensor], counts: Optional[torch.Tensor] = None) -> List[Numbers]:
    """Return the floating tensors of one vector step.

    Args:
        site: What they are.
        named: Name to ``(num_envs, *shape)``.
        counts: ``(num_envs, 1)`` bool, rows that have a say; None: all.
    """
    rows = None if counts is None else counts.unsqueeze(0)
    return [
        Numbers(site, name, values.unsqueeze(0), rows)
        for name, values in named.items()
        if isinstance(values, torch.Tensor) and values.is_floating_point()
    ]


@torch.no_grad()
def require_finite(numbers: Sequence[Numbers], length: int = 1) -> None:
    """Check numbers; one read from the device if all are finite.

    Args:
        numbers: What to check.
        length: Number of vector steps that they cover.

    Raises:
        NonFiniteError: Names the earliest one with key, environments and vector step.
    """
    tensors = [_counted(item).float() for item in numbers if item.values.numel()]
    if not tensors or math.isfinite(float(norms_of(tensors).norm())):
        return
    # A norm can overflow though every number is within bounds, so a suspicion is looked into.
    faults = [fault for fault in map(_fault, numbers) if fault is not None]
    if faults:
        # A value target holds what went wrong after it as well, so it is the last to be blamed.
        first = min(faults, key=lambda fault: (fault.numbers.site == "value target", fault.time))
        item = first.numbers
        raise non_finite_numbers(item.site, item.key, first.environments, first.value, length - 1 - first.time)


def _counted(numbers: Numbers) -> torch.Tensor:
    if numbers.counts is None:
        return numbers.values
    mask = numbers.counts.reshape(numbers.values.shape[:2] + (1,) * (numbers.values.dim() - 2))
    return torch.where(mask, numbers.values, torch.zeros_like(numbers.values))


def _fault(numbers: Numbers) -> Optional[_Fault]:
    """Return the earliest wrong row, if there is one."""
    values = _counted(numbers)
    values = values.reshape(values.shape[:2] + (-1,))
    wrong = ~(values.abs() <= LARGEST)
    rows = wrong.any(dim=2)
    if not bool(rows.any()):
        return None
    times = numbers.times
    if times is None:
        times = torch.arange(numbers.first, numbers.first + len(rows), device=rows.device).unsqueeze(1).expand_as(rows)
    time = int(times[rows].min())
    here = rows & (times == time)
    places = here.nonzero()
    row, environment = places[0].tolist()
    value = float(values[row, environment][wrong[row, environment]][0])
    return _Fault(time, tuple(sorted(set(places[:, 1].tolist()))), value, numbers)


class FiniteGuard:
    """Decides what follows a number that is not finite, and counts.

    Args:
        policy: ``AgentCfg.non_finite``.

    Attributes:
        checks_everything: Whether every vector step is checked by itself, as the trainer wants it after its start.
        in_a_row: Recoveries since the last finished update.
    """

    CHECKED_STEPS = 16
    """Vector steps after the start of a loop of which everything is checked at once, rather than by rollout."""

    MOST_RECOVERIES = 10
    """Recoveries in a row, without a finished update between them, after which going on is hopeless."""

    CALM_STEPS = 1000
    """Vector steps without a fault that count like a finished update, for agents that do not report theirs."""

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self.checks_everything = False
        self.in_a_row = 0
        self._counts: Dict[str, int] = {}
        self._told: List[str] = []

    def allow(self, error: NonFiniteError) -> None:
        """Take notice of a fault that training is about to recover from.

        Raises:
            NonFiniteError: The same error: training ends by it, or there were too many in a row.
        """
        if self.policy == RAISE:
            raise error
        self.in_a_row += 1
        if self.in_a_row > self.MOST_RECOVERIES:
            most = self.MOST_RECOVERIES
            error.args = (
                "{} {} recoveries in a row (non_finite={!r}) have brought no finished update, so training ends.".format(
                    error.args[0], most, self.policy
                ),
            )
            raise error
        self.count(error)

    def count(self, error: NonFiniteError, number: int = 1) -> None:
        """Count a fault for the log; the first of its kind is a warning."""
        site = error.site or "agent"
        self._counts[site] = self._counts.get(site, 0) + number
        if site not in self._told:
            self._told.append(site)
            logger.warning(
                "{} Training goes on (non_finite={!r}); further ones are only counted, as 'guard/{}' in the log.",
                error,
                self.policy,
                site,
            )

    def finished_update(self) -> None:
        """Take notice that an update went well; agents call this."""
        self.in_a_row = 0

    def take_figures(self) -> Dict[str, float]:
        """Return ``"guard/<site>"``, the faults since the last call."""
        counts, self._counts = self._counts, {}
        return {"guard/" + site: float(number) for site, number in counts.items()}


class StepGuard:
    """Keeps an optimiser from steps whose loss or gradient is not finite, without the host reading anything.

    The flag stays on the device and goes into the fused optimiser's own ``found_inf``, which leaves parameters, moments
    and step counts as they are. An optimiser without it is guarded by a read of the host.

    Args:
        optimizer: Whose steps are guarded.
        device: Where losses and gradients are.
        scaler: The loss scaler of float16; a disabled one scales nothing.
        sticky: True: after the first fault of an update no further step is taken; False: only faulty ones are left out.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, device: torch.device, scaler: Any, sticky: bool) -> None:
        self.flag = torch.zeros((), device=device)
        self._faults = torch.zeros((), device=device)
        self._one, self._nan = torch.ones((), device=device), torch.full((), float("nan"), device=device)
        self._optimizer = optimizer
        self._scaler = scaler
        self._sticky = sticky
        self._scales = scaler.is_enabled()
        self._by_flag = not self._scales and skips_by_flag(optimizer)

    def begin(self) -> None:
        """Forget the last update's faults."""
        self.flag.zero_()
        self._faults.zero_()

    def scale(self, loss: torch.Tensor) -> torch.Tensor:
        """Return the loss to differentiate.

        The loss scaler skips by itself where gradients are not finite, so a step that must not be taken is shown to it
        as such gradients.
        """
        if not self._scales:
            return loss
        self._judge(loss.detach())
        return self._scaler.scale(loss * torch.where(self.flag.bool(), self._nan, self._one))

    def step(self, loss: torch.Tensor, gradient_norm: torch.Tensor) -> None:
        """Take the optimiser's step unless the loss, the norm, or in a sticky guard one before them, is not finite.

        Args:
            loss: Shape ``()``.
            gradient_norm: Norm of all gradients before clipping, shape ``()``.
        """
        if self._scales:
            # The scaler looks for its scale by gradients that overflow; from 1 on they do so by themselves.
            excused = torch.logical_or(self._scaler._get_scale_async() > 1.0, self.flag)
            self._judge(torch.where(excused, torch.zeros_like(gradient_norm), gradient_norm))
            self._scaler.step(self._optimizer)
            self._scaler.update()
            return
        self._judge(loss.detach() + gradient_norm)
        if self._by_flag:
            self._optimizer.found_inf = self.flag  # type: ignore[attr-defined]
        elif bool(self.flag):
            return
        self._optimizer.step()

    def _judge(self, number: torch.Tensor) -> None:
        # x - x is 0 for a finite number and NaN, which counts as true, for any other.
        doubt = (number - number).reshape(()) if number.dim() else number - number
        if self._sticky:
            torch.logical_or(self.flag, doubt, out=self.flag)
        else:
            torch.ne(doubt, 0.0, out=self.flag)
            self._faults.add_(self.flag)

    def faults(self) -> int:
        """Return how many steps of this update were faulty, of a sticky guard 1 at most; one read from the device."""
        return int(self.flag if self._sticky else self._faults)
