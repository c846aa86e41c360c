"""``check_env``: tells authors of wrappers and environments everything that breaks the step contract."""

from typing import Any, Dict, List, Mapping, Optional, Tuple

import numpy as np
import torch
from loguru import logger

from AquaML.environment.base import EnvironmentWrapper
from AquaML.environment.spaces import BOX, SpaceLayout, TensorSpec, join_names
from AquaML.errors import EnvironmentContractError

_INFO_KEYS = ("final_obs", "valid", "log")
_ENV_INFO_KEYS = (
    "name",
    "num_envs",
    "observation_cfg",
    "action_cfg",
    "observation_layout",
    "action_layout",
    "device",
    "autoreset",
    "max_episode_length",
    "gives_final_observation",
    "has_invalid_rows",
    "action_bounds",
)
_SEED = 0
_LARGEST_ACTION = 1.0
"""Where an action has no bound, actions are drawn from -1 … 1."""
_HUGE = 1e6
"""Bounds beyond this are taken for none."""
_REPEATED_STEPS = 20
_BOUND_TOLERANCE = 1e-5

Tensors = Dict[str, torch.Tensor]


def check_env(wrapper: EnvironmentWrapper, steps: int = 200) -> None:
    """Run a wrapper with random actions and collect everything that breaks the step contract.

    The wrapper is reset several times; it is neither closed nor left in a particular state.

    Args:
        wrapper: The wrapper, which nobody else uses meanwhile.
        steps: Number of vector steps.

    Raises:
        EnvironmentContractError: Lists all problems found.
    """
    if not isinstance(wrapper, EnvironmentWrapper):
        raise EnvironmentContractError(
            "check_env got {}; expected an AquaML wrapper, for example check_env(GymnasiumWrapper(env)).".format(
                type(wrapper).__name__
            )
        )
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise EnvironmentContractError("steps is {!r}; expected an integer of at least 1.".format(steps))
    check = _Check(wrapper)
    if check.description():
        try:
            check.run(steps)
            if not check.problems:
                check.repetition(min(steps, _REPEATED_STEPS))
        except EnvironmentContractError as error:
            # The wrapper found something itself and cannot go on.
            check.report("the wrapper", ("raised",), str(error))
    if check.problems:
        raise EnvironmentContractError(
            "'{}' breaks the step contract in {} way(s):\n{}".format(
                getattr(wrapper, "name", type(wrapper).__name__),
                len(check.problems),
                "\n".join("  - " + problem for problem in check.problems),
            )
        )
    logger.info(
        "check_env: '{}' keeps the step contract ({} steps of {} environments, {} episodes ended).",
        wrapper.name,
        steps,
        wrapper.num_envs,
        check.episodes,
    )
    if not check.episodes:
        logger.warning(
            "check_env: no episode ended within {} steps, so resets and final observations are not checked; call "
            "check_env(wrapper, steps=...) with more.",
            steps,
        )


class _Check:
    """The problems found so far; each is kept once, with the step in which it first showed."""

    def __init__(self, wrapper: EnvironmentWrapper) -> None:
        self.wrapper = wrapper
        self.episodes = 0
        self._found: Dict[Tuple[str, ...], str] = {}
        self._generator = np.random.default_rng(_SEED)

    @property
    def problems(self) -> List[str]:
        return list(self._found.values())

    def report(self, where: str, key: Tuple[str, ...], message: str) -> None:
        """Remember a problem unless one with the same key is known."""
        self._found.setdefault(key, "{}: {}".format(where, message))

    # ------------------------------------------------------------------ what the wrapper says of itself

    def description(self) -> bool:
        """Check attributes and ``getEnvInfo``; return whether it makes sense to run the wrapper."""
        wrapper = self.wrapper
        usable = True
        for name in ("observation_layout", "action_layout"):
            if not isinstance(getattr(wrapper, name, None), SpaceLayout):
                self.report(
                    "the wrapper", (name,), "{} is no SpaceLayout; set it with layout_of(space, ...)".format(name)
                )
                usable = False
        number = getattr(wrapper, "num_envs", None)
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            self.report("the wrapper", ("num_envs",), "num_envs is {!r}, expected an integer >= 1".format(number))
            usable = False
        if not isinstance(getattr(wrapper, "name", None), str):
            self.report(
                "the wrapper", ("name",), "name is {!r}, expected a string".format(getattr(wrapper, "name", None))
            )
            usable = False
        if wrapper.autoreset not in ("same_step", "next_step"):
            self.report(
                "the wrapper",
                ("autoreset",),
                "autoreset is {!r}, expected 'same_step' or 'next_step'".format(wrapper.autoreset),
            )
        if wrapper.autoreset == "next_step" and not wrapper.has_invalid_rows:
            self.report(
                "the wrapper",
                ("has_invalid_rows",),
                "autoreset='next_step' makes rows that only reset, but has_invalid_rows is False",
            )
        if usable:
            self._env_info()
        return usable

    def _env_info(self) -> None:
        info = self.wrapper.getEnvInfo()
        missing = [name for name in _ENV_INFO_KEYS if name not in info]
        if missing:
            self.report("getEnvInfo()", ("info keys",), "{} missing".format(join_names(missing)))
        for key, layout in (
            ("observation_cfg", self.wrapper.observation_layout),
            ("action_cfg", self.wrapper.action_layout),
        ):
            if key in info and list(info[key]) != list(layout.specs):
                self.report(
                    "getEnvInfo()",
                    (key,),
                    "'{}' has the keys {}, the layout has {}".format(
                        key, join_names(info[key]), join_names(layout.specs)
                    ),
                )

    # ------------------------------------------------------------------ running

    def run(self, steps: int) -> None:
        """Reset once and make steps with random actions, checking all that is returned."""
        result: Any = self.wrapper.reset(seed=_SEED)
        if not isinstance(result, tuple) or len(result) != 2:
            self.report("reset", ("reset",), "returned {}, expected (observations, infos)".format(_describe(result)))
            return
        self._observations("reset", "observations", result[0], None)
        self._infos("reset", result[1], torch.zeros((self.wrapper.num_envs, 1), dtype=torch.bool))
        # What the last two calls returned, as it was then; it may change only in the second next step.
        held: List[Tuple[str, Any, Any]] = [("reset", result[0], _copied(result[0]))]
        for step in range(steps):
            where = "step {}".format(step)
            actions = self._actions()
            before = _copied(actions)
            result = self.wrapper.step(actions)
            for name in _changed(actions, before):
                self.report(where, ("action", name), "the action '{}' handed to step() was changed".format(name))
            for earlier, values, copy in held:
                for name in _changed(values, copy):
                    self.report(
                        where,
                        ("lifetime", name),
                        "'{}' as returned by {} was overwritten; it must stay unchanged until the second next "
                        "step".format(name, earlier),
                    )
            if not isinstance(result, tuple) or len(result) != 5:
                self.report(
                    where,
                    ("step",),
                    "returned {}, expected (observations, rewards, terminated, truncated, infos)".format(
                        _describe(result)
                    ),
                )
                return
            self._step(where, *result)
            held = [(where, _flat(result), _copied(_flat(result)))]

    def _actions(self) -> Tensors:
        """Draw one action per environment, uniformly within bounds."""
        wrapper = self.wrapper
        actions: Tensors = {}
        for name, spec in wrapper.action_layout.specs.items():
            shape = (wrapper.num_envs,) + spec.shape
            if spec.kind == BOX:
                low, high = _finite_bounds(spec)
                if wrapper.action_bounds == "rescale":
                    low, high = -np.ones(spec.shape), np.ones(spec.shape)
                values: Any = self._generator.uniform(low, high, shape)
            else:
                values = self._generator.integers(0, spec.high.astype(np.int64) + 1, shape)
            actions[name] = torch.from_numpy(values).to(device=wrapper.device, dtype=getattr(torch, spec.dtype))
        return actions

    def _step(self, where: str, observations: Any, rewards: Any, terminated: Any, truncated: Any, infos: Any) -> None:
        rows = (self.wrapper.num_envs, 1)
        known = self._tensor(where, "rewards", rewards, rows, torch.float32)
        if known:
            self._finite(where, "rewards", rewards)
        flags = [
            self._tensor(where, name, value, rows, torch.bool)
            for name, value in (("terminated", terminated), ("truncated", truncated))
        ]
        done = None
        if all(flags):
            both = terminated & truncated
            if bool(both.any()):
                self.report(
                    where,
                    ("both",),
                    "environment {} is both terminated and truncated; terminated wins".format(_first_row(both)),
                )
            done = (terminated | truncated).cpu()
            self.episodes += int(done.sum())
        valid = infos.get("valid") if isinstance(infos, Mapping) else None
        self._observations(where, "observations", observations, None)
        self._infos(where, infos, done)
        if done is not None and isinstance(valid, torch.Tensor) and valid.shape == done.shape:
            filler = ~valid.cpu() & done
            if bool(filler.any()):
                self.report(
                    where, ("filler",), "environment {} ends in a row that is not valid".format(_first_row(filler))
                )

    def _observations(self, where: str, what: str, observations: Any, rows: Optional[torch.Tensor]) -> None:
        """Check a dictionary of observations; ``rows`` limits the check of values, ``(N,)`` bool."""
        specs = self.wrapper.observation_layout.specs
        if not isinstance(observations, Mapping):
            self.report(where, (what,), "{} are {}, expected a dict".format(what, _describe(observations)))
            return
        if list(observations) != list(specs):
            self.report(
                where,
                (what, "keys"),
                "{} have the keys {}, expected {} in this order".format(
                    what, join_names(observations), join_names(specs)
                ),
            )
        for name, spec in specs.items():
            if name not in observations:
                continue
            label = "{}['{}']".format(what, name)
            shape = (self.wrapper.num_envs,) + spec.shape
            if self._tensor(where, label, observations[name], shape, getattr(torch, spec.dtype)):
                values = observations[name] if rows is None else observations[name][rows.to(observations[name].device)]
                indices = None if rows is None else torch.nonzero(rows)[:, 0]
                if self._finite(where, label, values, indices):
                    self._bounds(where, label, spec, values, indices)

    def _tensor(self, where: str, label: str, value: Any, shape: Tuple[int, ...], dtype: torch.dtype) -> bool:
        """Check type, shape and device; return whether values can be looked at."""
        if not isinstance(value, torch.Tensor):
            self.report(where, (label, "type"), "{} is {}, expected a tensor".format(label, _describe(value)))
            return False
        if tuple(value.shape) != shape:
            self.report(
                where, (label, "shape"), "{} has shape {}, expected {}".format(label, tuple(value.shape), shape)
            )
            return False
        usable = True
        if value.dtype != dtype:
            self.report(where, (label, "dtype"), "{} is {}, expected {}".format(label, value.dtype, dtype))
            usable = False
        if not _same_device(value.device, self.wrapper.device):
            self.report(
                where,
                (label, "device"),
                "{} lives on {}, expected {}".format(label, value.device, self.wrapper.device),
            )
            usable = False
        return usable

    def _finite(self, where: str, label: str, values: torch.Tensor, indices: Optional[torch.Tensor] = None) -> bool:
        if not values.is_floating_point():
            return True
        wrong = ~torch.isfinite(values)
        if not bool(wrong.any()):
            return True
        row = _first_row(wrong)
        self.report(
            where,
            (label, "finite"),
            "{} of environment {} holds {}".format(
                label, row if indices is None else int(indices[row]), float(values[wrong][0])
            ),
        )
        return False

    def _bounds(
        self, where: str, label: str, spec: TensorSpec, values: torch.Tensor, indices: Optional[torch.Tensor]
    ) -> None:
        numbers = values.detach().cpu().numpy().astype(np.float64)
        slack = _BOUND_TOLERANCE * (1.0 + np.abs(numbers)) if spec.is_floating else 0.0
        outside = (numbers < spec.low - slack) | (numbers > spec.high + slack)
        if outside.any():
            place = tuple(np.argwhere(outside)[0])
            row = int(place[0])
            self.report(
                where,
                (label, "bounds"),
                "{} of environment {} is {:g} at index {}, outside of its space's bounds {:g} … {:g}".format(
                    label,
                    row if indices is None else int(indices[row]),
                    numbers[place],
                    [int(index) for index in place[1:]],
                    spec.low[place[1:]],
                    spec.high[place[1:]],
                ),
            )

    def _infos(self, where: str, infos: Any, done: Optional[torch.Tensor]) -> None:
        if not isinstance(infos, Mapping):
            self.report(where, ("infos",), "infos are {}, expected a dict".format(_describe(infos)))
            return
        missing = [name for name in _INFO_KEYS if name not in infos]
        if missing:
            self.report(where, ("infos", "keys"), "infos have no {}".format(join_names(missing)))
        self._valid(where, infos.get("valid"))
        self._log(where, infos.get("log", {}))
        final = infos.get("final_obs")
        if final is not None:
            self._observations(where, "final_obs", final, None if done is None else done[:, 0])
        elif done is not None and bool(done.any()) and "final_obs" in infos and self._owes_final_observation():
            self.report(
                where,
                ("final",),
                "an episode of environment {} ended, but final_obs is None; give the last observation, or set "
                "gives_final_observation to False if the simulator hides it".format(_first_row(done)),
            )

    def _owes_final_observation(self) -> bool:
        return self.wrapper.gives_final_observation and self.wrapper.autoreset == "same_step"

    def _valid(self, where: str, valid: Any) -> None:
        if valid is None:
            return
        rows = (self.wrapper.num_envs, 1)
        if not self._tensor(where, "infos['valid']", valid, rows, torch.bool):
            return
        if not self.wrapper.has_invalid_rows and not bool(valid.all()):
            self.report(where, ("valid",), "infos['valid'] holds False, but the wrapper says has_invalid_rows is False")

    def _log(self, where: str, log: Any) -> None:
        if not isinstance(log, Mapping):
            self.report(where, ("log",), "infos['log'] is {}, expected a dict".format(_describe(log)))
            return
        for name, value in log.items():
            label = "infos['log']['{}']".format(name)
            shape = () if getattr(value, "shape", None) == () else (self.wrapper.num_envs, 1)
            self._tensor(where, label, value, shape, torch.float32)

    # ------------------------------------------------------------------ seeds

    def repetition(self, steps: int) -> None:
        """Check that the same seed and actions give the same observations, rewards and flags."""
        rollouts = []
        for _ in range(2):
            self._generator = np.random.default_rng(_SEED)
            rows = [_copied(self.wrapper.reset(seed=_SEED)[0])]
            rows += [_copied(_flat(self.wrapper.step(self._actions()))) for _ in range(steps)]
            rollouts.append(rows)
        for step, (first, second) in enumerate(zip(*rollouts)):
            # Rows of final_obs in which no episode ended may hold anything.
            names = [name for name in first if not name.startswith("final_obs/")]
            wrong = [name for name in names if not _equal(first[name], second[name])]
            if wrong:
                where = "reset" if step == 0 else "step {}".format(step - 1)
                self.report(
                    where,
                    ("seed",),
                    "{} differ(s) between two runs with reset(seed={}) and the same actions; draw everything random "
                    "from the seeded generator".format(join_names(wrong), _SEED),
                )
                return


def _finite_bounds(spec: TensorSpec) -> Tuple[np.ndarray, np.ndarray]:
    """Replace infinite bounds by finite ones, so that actions can be drawn."""
    low, high = np.array(spec.low), np.array(spec.high)
    no_low, no_high = low < -_HUGE, high > _HUGE
    low[no_low & no_high], high[no_low & no_high] = -_LARGEST_ACTION, _LARGEST_ACTION
    low = np.where(no_low & ~no_high, high - 2.0 * _LARGEST_ACTION, low)
    high = np.where(no_high & ~no_low, low + 2.0 * _LARGEST_ACTION, high)
    return low, high


def _flat(result: Tuple[Any, ...]) -> Dict[str, Any]:
    """Put all tensors that ``step`` returned into one dictionary."""
    observations, rewards, terminated, truncated, infos = result
    flat: Dict[str, Any] = {"rewards": rewards, "terminated": terminated, "truncated": truncated}
    if isinstance(observations, Mapping):
        flat.update(observations)
    if isinstance(infos, Mapping):
        flat["valid"] = infos.get("valid")
        for group in ("final_obs", "log"):
            values = infos.get(group)
            if isinstance(values, Mapping):
                flat.update({"{}/{}".format(group, name): value for name, value in values.items()})
    return flat


def _copied(values: Any) -> Any:
    if not isinstance(values, Mapping):
        return {}
    tensors = {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}
    # Tensors on the device "meta" have no values that could change.
    return {name: value.clone() for name, value in tensors.items() if value.device.type != "meta"}


def _changed(values: Any, copy: Tensors) -> List[str]:
    return [name for name, before in copy.items() if not _equal(values[name], before)]


def _equal(one: torch.Tensor, other: Optional[torch.Tensor]) -> bool:
    if other is None or one.shape != other.shape:
        return False
    same = one == other
    if one.is_floating_point():
        same |= torch.isnan(one) & torch.isnan(other)
    return bool(same.all())


def _same_device(one: torch.device, other: torch.device) -> bool:
    return one.type == other.type and (one.index is None or other.index is None or one.index == other.index)


def _first_row(mask: torch.Tensor) -> int:
    return int(torch.nonzero(mask)[0, 0])


def _describe(value: Any) -> str:
    return "a tuple of {}".format(len(value)) if isinstance(value, tuple) else type(value).__name__
