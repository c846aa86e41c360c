"""Brax and MuJoCo Playground: functional environments in JAX, exchanged with torch without a copy."""

import subprocess
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union

import numpy as np
import torch

from AquaML.environment.leaf_names import rename_leaves
from AquaML.environment.rsl_rl_envs import layout_of_tensors
from AquaML.environment.simulator_buffers import SimulatorBuffer
from AquaML.environment.simulator_wrapper import SimulatorWrapper, require_attributes
from AquaML.environment.spaces import ACTION_NAME, OBSERVATION_NAME, PRIVILEGED_NAME, SpaceLayout, unbounded_leaf
from AquaML.environment.tensor_actions import limit_actions
from AquaML.errors import EnvironmentContractError, MissingDependencyError, did_you_mean

_READ = ("reset", "step", "action_size", "observation_size")
_USUAL_NAMES = {"state": OBSERVATION_NAME, "privileged_state": PRIVILEGED_NAME}
_EPISODES = 1000
_PHYSICS = ("pipeline_state", "data")
"""What Brax and Playground call the state of the physics."""


class _Running(NamedTuple):
    """All that a batch of running episodes consists of; a pytree.

    Attributes:
        state: The environments' state, batched.
        first: Physics and observations with which each environment began; None if every reset draws anew.
        ages: Steps of each episode, ``(num_envs,)``.
        key: From which resets are drawn.
    """

    state: Any
    first: Any
    ages: Any
    key: Any


class BraxWrapper(SimulatorWrapper):
    """An environment of Brax or MuJoCo Playground behind AquaML's step contract.

    The wrapper makes the batch, the time limit and the resets itself, in one compiled function: the last observation
    of each episode is thereby known, which Brax's own ``AutoResetWrapper`` overwrites. Give it the bare environment,
    or one in a wrapper that makes the batch (``VmapWrapper``, ``DomainRandomizationVmapWrapper``).

    A plain observation, and ``"state"`` of a dictionary, is called ``"state"``; ``"privileged_state"`` is called
    ``"privileged"``. Actions are between -1 and 1. The state is saved and restored exactly.

    On a GPU, JAX takes most of the memory for itself: set ``XLA_PYTHON_CLIENT_PREALLOCATE=false`` before importing it.

    Args:
        env: The environment, or its name.
        num_envs: Number of environments.
        suite: Where a name is looked up: ``"brax"`` or ``"playground"``.
        episode_length: The time limit in steps of the simulator; None: that of Playground's configuration, else 1000.
        action_repeat: Steps of the simulator in each step, whose rewards are added.
        full_reset: True: each reset draws a new first state, which costs about a step whenever an episode ends; False:
            each environment begins all episodes in the physics and observation of its first one, as Brax does, and what
            the task keeps in ``info`` goes on.
        names: The environment's name of an observation to yours.
        action_bounds: See :class:`~AquaML.environment.simulator_wrapper.SimulatorWrapper`.
        finite_horizon: True if the time limit is part of the task: reaching it then counts as termination.
        **kwargs: For a name only: handed to ``brax.envs.get_environment`` (``backend`` and so on), or to
            ``mujoco_playground.registry.load`` (``config_overrides={"impl": "jax"}`` where there is no CUDA).

    Raises:
        EnvironmentContractError: The environment resets itself, or an argument does not fit it.
        MissingDependencyError: JAX, Brax or Playground is not installed.
    """

    def __init__(
        self,
        env: Union[str, Any],
        num_envs: int = 1,
        suite: str = "brax",
        episode_length: Optional[int] = None,
        action_repeat: int = 1,
        full_reset: bool = False,
        names: Optional[Mapping[str, str]] = None,
        action_bounds: str = "clip",
        finite_horizon: bool = False,
        **kwargs: Any,
    ) -> None:
        self._jax = _jax()
        self._made_with: Dict[str, Any] = {
            "suite": suite,
            "episode_length": episode_length,
            "action_repeat": action_repeat,
            "full_reset": full_reset,
            "names": names,
            "action_bounds": action_bounds,
            "finite_horizon": finite_horizon,
            **kwargs,
        }
        for name, value in (
            ("num_envs", num_envs),
            ("action_repeat", action_repeat),
            ("episode_length", episode_length),
        ):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise EnvironmentContractError("{} is {!r}; expected an integer of at least 1.".format(name, value))
        environment = _made(env, suite, kwargs)
        require_attributes(environment, _READ, "BraxWrapper")
        batched = _is_batched(environment)
        self._source = env
        limit = episode_length or int(getattr(getattr(environment, "_config", None), "episode_length", _EPISODES))
        reset, step = _batch_functions(self._jax, environment, batched)
        self._begin, self._advance = _episodes(self._jax, reset, step, num_envs, limit, action_repeat, full_reset)
        shapes = _shapes(self._jax, reset, num_envs, batched)
        self._is_plain = not hasattr(shapes.obs, "keys")
        seen = {"state": shapes.obs} if self._is_plain else shapes.obs
        # JAX sorts keys; what the actor sees comes first, as in every other simulator.
        theirs = layout_of_tensors({name: seen[name] for name in sorted(seen, key=lambda name: name != "state")})
        self._metrics: List[str] = sorted(getattr(shapes, "metrics", None) or {})
        actions = SpaceLayout({ACTION_NAME: unbounded_leaf(ACTION_NAME, (int(environment.action_size),))}, ACTION_NAME)
        super().__init__(
            environment,
            env if isinstance(env, str) else type(getattr(environment, "unwrapped", environment)).__name__,
            num_envs,
            rename_leaves(theirs, _USUAL_NAMES, names),
            limit_actions(actions, 1.0),
            _torch_device(self._jax),
            action_bounds,
            finite_horizon,
        )
        self.max_episode_length = -(-limit // action_repeat)
        self._running: Optional[_Running] = None

    # ------------------------------------------------------------------ the step contract

    def restart(self, seed: Optional[int], out: SimulatorBuffer) -> None:
        """Start a new episode everywhere; without a seed, one is drawn from torch's global generator."""
        if seed is None:
            seed = int(torch.randint(2**31, ()))
        self._running, observations = self._begin(self._placed(self._jax.random.PRNGKey(seed)))
        out.store_observations(self._shown(observations))

    def advance(self, actions: Any, out: SimulatorBuffer) -> None:
        """Step the environments."""
        self._running, observations, final, columns = self._advance(self._running, self._taken(actions))
        table = self._given(columns)
        out.store_rewards(table[:, 0])
        out.store_flags(table[:, 1], table[:, 2])
        out.store_final(self._shown(final))
        out.store_observations(self._shown(observations))
        if self._metrics:
            table = table.to(self.device)
            out.log = {name: table[:, 3 + index : 4 + index] for index, name in enumerate(self._metrics)}

    def _shown(self, observations: Any) -> Dict[str, torch.Tensor]:
        if self._is_plain:
            return {"state": self._given(observations)}
        return {name: self._given(value) for name, value in observations.items()}

    def _given(self, array: Any) -> torch.Tensor:
        if self.simulator_device.type == "cpu":
            # On an accelerator the exchange orders the two streams itself.
            array.block_until_ready()
        return torch.utils.dlpack.from_dlpack(array)

    def _taken(self, actions: torch.Tensor) -> Any:
        return self._jax.dlpack.from_dlpack(actions.contiguous())

    def _placed(self, tree: Any) -> Any:
        # Placed on a device for good, as what comes from torch is: one compiled step then serves all.
        return self._jax.device_put(tree, self._jax.devices()[0])

    def close(self) -> None:
        """Forget the running episodes; JAX needs no closing."""
        self._closed = True
        self._running = None

    def render(self) -> Any:
        """Return a picture of the first environment; where there is no display, MuJoCo needs ``MUJOCO_GL=egl``.

        Raises:
            EnvironmentContractError: The environment cannot render.
        """
        render = getattr(self.environment, "render", None)
        if not callable(render) or self._running is None:
            return super().render()
        state = self._jax.tree_util.tree_map(lambda leaf: leaf[0], self._running.state)
        physics = getattr(state, _PHYSICS[0], None)
        return render([state if physics is None else physics])[0]

    def spawn(self, num_envs: int) -> "BraxWrapper":
        """Make independent environments of the same kind; see :meth:`EnvironmentWrapper.spawn`."""
        return BraxWrapper(self._source, num_envs=num_envs, **self._made_with)

    # ------------------------------------------------------------------ saved state

    def get_state(self) -> Optional[Dict[str, Any]]:
        """Return everything that running episodes consist of."""
        if self._running is None:
            return None
        leaves = self._jax.tree_util.tree_leaves(self._running)
        return {"leaves": [np.asarray(_without_type(self._jax, leaf)) for leaf in leaves]}

    def set_state(self, state: Dict[str, Any]) -> bool:
        """Go on with saved episodes; return whether they fit this environment."""
        jax = self._jax
        shapes = jax.eval_shape(self._begin, jax.random.PRNGKey(0))[0]
        expected, structure = jax.tree_util.tree_flatten(shapes)
        saved = state["leaves"]
        if len(saved) != len(expected):
            return False
        leaves = []
        for leaf, shape in zip(saved, expected):
            typed = jax.dtypes.issubdtype(shape.dtype, jax.dtypes.prng_key)
            value = jax.random.wrap_key_data(leaf) if typed else jax.numpy.asarray(leaf)
            if value.shape != shape.shape or value.dtype != shape.dtype:
                return False
            leaves.append(value)
        self._running = self._placed(jax.tree_util.tree_unflatten(structure, leaves))
        self._started = True
        return True


def _shapes(jax: Any, reset: Callable[..., Any], num_envs: int, batched: bool) -> Any:
    """Return shapes and types of a batch's first state.

    Raises:
        EnvironmentContractError: The wrapper around the environment makes a batch of another size.
    """
    keys = jax.random.split(jax.random.PRNGKey(0), num_envs)
    try:
        shapes = jax.eval_shape(reset, keys)
        found = "rewards of shape {}".format(shapes.reward.shape)
    except ValueError as error:
        if not batched:
            raise
        shapes, found = None, str(error)
    if shapes is None or shapes.reward.shape != (num_envs,):
        raise EnvironmentContractError(
            "The environment makes no batch of num_envs={} ({}). Hand over the bare environment, a VmapWrapper without "
            "batch_size, or a randomization of just as many environments.".format(num_envs, found)
        )
    return shapes


def _batch_functions(jax: Any, environment: Any, batched: bool) -> Tuple[Callable[..., Any], Callable[..., Any]]:
    """Return ``reset(keys)`` and ``step(state, actions)`` of a batch."""
    if batched:
        return environment.reset, environment.step
    return jax.vmap(environment.reset), jax.vmap(environment.step)


def _episodes(
    jax: Any,
    reset: Callable[..., Any],
    step: Callable[..., Any],
    num_envs: int,
    limit: int,
    action_repeat: int,
    full_reset: bool,
) -> Tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the compiled beginning and step of a batch of episodes.

    Args:
        jax: The package.
        reset: Of the batch.
        step: Of the batch.
        num_envs: Number of environments.
        limit: The time limit, in steps of the simulator.
        action_repeat: Steps of the simulator in each step.
        full_reset: Whether each reset draws a new first state.
    """
    jnp = jax.numpy

    def begin(key: Any) -> Any:
        key, used = jax.random.split(key)
        state = _typed(jax, reset(jax.random.split(used, num_envs)))
        first = None if full_reset else (_physics(state), state.obs)
        return _Running(state, first, jnp.zeros(num_envs, jnp.int32), key), state.obs

    def anew(key: Any, done: Any, state: Any) -> Any:
        return _select(jax, done, _typed(jax, reset(jax.random.split(key, num_envs))), state)

    def repeated(state: Any, actions: Any) -> Tuple[Any, Any, Any]:
        rewards, failed = jnp.zeros(num_envs), jnp.zeros(num_envs, bool)
        for _ in range(action_repeat):
            # A failed robot waits for its reset: further steps neither pay nor raise it from the dead.
            following = step(state, actions)
            rewards = rewards + jnp.where(failed, 0.0, following.reward)
            state = following if action_repeat == 1 else _select(jax, failed, state, following)
            failed = failed | (following.done > 0)
        return state, rewards, failed

    def advance(running: _Running, actions: Any) -> Any:
        state, rewards, failed = repeated(running.state, actions)
        state = _typed(jax, state)
        ages = running.ages + action_repeat
        cut_off = ~failed & (ages >= limit)
        done = failed | cut_off
        final, key = state.obs, running.key
        metrics = [state.metrics[name].astype(jnp.float32) for name in sorted(getattr(state, "metrics", None) or {})]
        columns = [rewards.astype(jnp.float32), failed.astype(jnp.float32), cut_off.astype(jnp.float32)]
        if full_reset:
            key, used = jax.random.split(key)
            # Only where an episode has ended, since a reset costs about a step.
            state = jax.lax.cond(done.any(), lambda: anew(used, done, state), lambda: state)
        else:
            physics, observations = running.first
            state = _with_physics(state, _select(jax, done, physics, _physics(state)))
            state = state.replace(obs=_select(jax, done, observations, state.obs), done=jnp.zeros_like(state.done))
        ages = jnp.where(done, 0, ages)
        return _Running(state, running.first, ages, key), state.obs, final, jnp.stack(columns + metrics, axis=1)

    return jax.jit(begin), jax.jit(advance)


def _typed(jax: Any, tree: Any) -> Any:
    """Give every leaf a firm type; a loose one, as of a constant, would have the step compiled twice."""
    return jax.tree_util.tree_map(lambda leaf: jax.lax.convert_element_type(leaf, leaf.dtype), tree)


def _select(jax: Any, rows: Any, there: Any, elsewhere: Any) -> Any:
    """Take rows of one pytree, and all others of another; what has no row for each environment is the second's."""
    number = rows.shape[0]

    def select(one: Any, other: Any) -> Any:
        if one.ndim == 0 or one.shape[0] != number:
            return other
        return jax.numpy.where(rows.reshape((number,) + (1,) * (one.ndim - 1)), one, other)

    return jax.tree_util.tree_map(select, there, elsewhere)


def _physics(state: Any) -> Any:
    return next(getattr(state, name) for name in _PHYSICS if hasattr(state, name))


def _with_physics(state: Any, physics: Any) -> Any:
    name = next(name for name in _PHYSICS if hasattr(state, name))
    return state.replace(**{name: physics})


def _without_type(jax: Any, leaf: Any) -> Any:
    return jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def _is_batched(environment: Any) -> bool:
    """Whether a wrapper around the environment makes the batch.

    Raises:
        EnvironmentContractError: A wrapper ends episodes or resets the environment, which hides last observations.
    """
    layer, batched = environment, False
    while layer is not None:
        name = type(layer).__name__
        if "AutoReset" in name or name == "EpisodeWrapper":
            raise EnvironmentContractError(
                "The environment is in {}, which would hide time limits or last observations; hand over the bare "
                "environment (brax.envs.get_environment or registry.load): BraxWrapper makes the batch, the time "
                "limit and the resets.".format(name)
            )
        batched = batched or "Vmap" in name
        layer = vars(layer).get("env")
    return batched


def _made(env: Any, suite: str, kwargs: Dict[str, Any]) -> Any:
    if not isinstance(env, str):
        if kwargs:
            raise EnvironmentContractError(
                "The environment is made already, so {} cannot be applied; give them where it is made.".format(
                    ", ".join(kwargs)
                )
            )
        return env
    if suite not in ("brax", "playground"):
        raise EnvironmentContractError("suite is {!r}; expected 'brax' or 'playground'.".format(suite))
    try:
        return _of_brax(env, kwargs) if suite == "brax" else _of_playground(env, kwargs)
    except ImportError as error:
        raise MissingDependencyError(
            "'{}' needs {}, which cannot be imported ({}): pip install {}.".format(env, suite, error, suite)
        ) from error
    except EnvironmentContractError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise EnvironmentContractError(
            "{} makes no environment '{}' of {}: {}".format(suite, env, kwargs or "its defaults", error)
        ) from error


def _of_brax(name: str, kwargs: Dict[str, Any]) -> Any:
    from brax import envs

    known = getattr(envs, "_envs", {})
    if known and name not in known:
        raise EnvironmentContractError("brax has no environment '{}'.{}".format(name, did_you_mean(name, known)))
    return envs.get_environment(name, **kwargs)


def _of_playground(name: str, kwargs: Dict[str, Any]) -> Any:
    from mujoco_playground import registry

    if name not in registry.ALL_ENVS:
        raise EnvironmentContractError(
            "playground has no environment '{}'.{}".format(name, did_you_mean(name, registry.ALL_ENVS))
        )
    try:
        return registry.load(name, **kwargs)
    except (subprocess.CalledProcessError, FileNotFoundError) as error:
        raise EnvironmentContractError(
            "playground could not download MuJoCo Menagerie, whose robots '{}' needs ({}); connect to the network "
            "once, or clone it into mujoco_playground/external_deps/mujoco_menagerie.".format(name, error)
        ) from error
    except AttributeError as error:
        if "WARP" not in str(error):
            raise
        raise EnvironmentContractError(
            "playground computes '{}' with Warp, which does not run here ({}); choose JAX by "
            "config_overrides={{'impl': 'jax'}}.".format(name, error)
        ) from error


def _jax() -> Any:
    try:
        import jax
        import jax.dlpack
    except ImportError as error:
        raise MissingDependencyError("BraxWrapper needs JAX ({}): pip install jax.".format(error)) from error
    return jax


def _torch_device(jax: Any) -> str:
    device = jax.devices()[0]
    return "cpu" if device.platform == "cpu" else "cuda:{}".format(device.id)
