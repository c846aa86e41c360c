"""Ready-made networks for agents that learn action values: policies with critics, and Q-networks."""

from typing import Any, Dict, List, Mapping, Optional, Sequence

import torch

from AquaML.environment.action_transform import policy_specs
from AquaML.environment.spaces import DISCRETE, TensorSpec, is_privileged
from AquaML.errors import ModelError, did_you_mean
from AquaML.learning.model.action_range import ActionRange
from AquaML.learning.model.base import Model, ModelOutput
from AquaML.learning.model.composite import CompositeModel
from AquaML.learning.model.deterministic import DeterministicModel
from AquaML.learning.model.encoders import Encoder, FeatureExtractor
from AquaML.learning.model.model_cfg import ModelCfg
from AquaML.learning.model.networks import Layers, perceptron
from AquaML.learning.model.parallel_networks import ParallelPerceptrons
from AquaML.learning.model.squashed_gaussian import SquashedGaussianModel

_POLICIES = ("squashed", "deterministic")


def default_actor_critic(
    env_info: Mapping[str, Any],
    policy: str = "squashed",
    hidden_sizes: Sequence[int] = (256, 256),
    activation: str = "relu",
    critics: int = 2,
    policy_inputs: Optional[List[str]] = None,
    critic_inputs: Optional[List[str]] = None,
    encoders: Optional[Mapping[str, Encoder]] = None,
    layer_norm: bool = False,
    atoms: Optional[int] = None,
) -> Dict[str, Model]:
    """Make a policy and critics for SAC, TD3, DDPG and FastSAC.

    Weights are drawn as PyTorch draws them, which is what these algorithms were published with.

    Args:
        env_info: ``env.getEnvInfo()``.
        policy: ``"squashed"``, a Gaussian squashed into the action's bounds whose deviation depends on the observation
            (SAC), or ``"deterministic"`` (TD3, DDPG).
        hidden_sizes: Width of each hidden layer.
        activation: ``"relu"``, ``"elu"``, ``"silu"``, ``"tanh"`` or ``"leaky_relu"``.
        critics: Number of independent critics; the smallest value counts. One for DDPG as published.
        policy_inputs: Observations for the policy; None: all but ``"privileged"`` and what is below it.
        critic_inputs: Observations for the critics; None: all. Actions are read besides.
        encoders: Observation name to an encoder, as in :class:`~AquaML.learning.model.encoders.FeatureExtractor`.
        layer_norm: Whether every hidden layer is normalised before its activation (Ba et al., 2016).
        atoms: Number of values over which critics spread probability, for FastSAC: they then return ``"logits"``;
            None: they return ``"values"``.

    Returns:
        ``{"policy": …, "critic": …}``.

    Raises:
        ModelError: An action has no bounds, or is none of real numbers; or a name is unknown.
    """
    if policy not in _POLICIES:
        raise ModelError("default_actor_critic: policy is {!r}.{}".format(policy, did_you_mean(policy, _POLICIES)))
    if critics < 1:
        raise ModelError("default_actor_critic: critics is {}; expected at least 1.".format(critics))
    observations: Dict[str, TensorSpec] = env_info["observation_cfg"]
    actions = policy_specs(env_info["action_cfg"], env_info["action_bounds"])
    names = _policy_names(observations, policy_inputs)
    layers = Layers(hidden_sizes, activation, layer_norm)
    if policy == "deterministic" and len(actions) > 1:
        raise ModelError(
            "default_actor_critic(policy='deterministic') is for one action; there are {}. Write a DeterministicModel "
            "of your own.".format(list(actions))
        )
    kind: Any = SquashedPolicy if policy == "squashed" else DeterministicPolicy
    made = {
        name: kind(FeatureExtractor(observations, names, encoders), observations, spec, layers)
        for name, spec in actions.items()
    }
    judged = dict(observations, **actions)
    reader = FeatureExtractor(judged, (critic_inputs or list(observations)) + list(actions), encoders)
    return {
        "policy": next(iter(made.values())) if len(made) == 1 else CompositeModel(made),
        "critic": Critics(reader, judged, critics, layers, atoms),
    }


def default_q_network(
    env_info: Mapping[str, Any],
    hidden_sizes: Sequence[int] = (64, 64),
    activation: str = "relu",
    dueling: bool = False,
    inputs: Optional[List[str]] = None,
    encoders: Optional[Mapping[str, Encoder]] = None,
) -> Dict[str, Model]:
    """Make a Q-network for DQN.

    Args:
        env_info: ``env.getEnvInfo()``.
        hidden_sizes: Width of each hidden layer.
        activation: As in :func:`default_actor_critic`.
        dueling: Whether the value of a state and the advantages of actions come from separate outputs (Wang et al.,
            2016, "Dueling network architectures").
        inputs: Observations; None: all but ``"privileged"`` and what is below it.
        encoders: As in :func:`default_actor_critic`.

    Returns:
        ``{"q_network": …}``.

    Raises:
        ModelError: There is another action than one Discrete one, or a name is unknown.
    """
    actions: Dict[str, TensorSpec] = env_info["action_cfg"]
    spec = next(iter(actions.values()))
    if len(actions) != 1 or spec.kind != DISCRETE:
        raise ModelError(
            "default_q_network is for one Discrete action, but the actions are {}.".format(
                {name: item.kind for name, item in actions.items()}
            )
        )
    observations: Dict[str, TensorSpec] = env_info["observation_cfg"]
    names = _policy_names(observations, inputs)
    extractor = FeatureExtractor(observations, names, encoders)
    layers = Layers(hidden_sizes, activation)
    return {"q_network": QNetwork(extractor, observations, spec.sizes[0], dueling, layers)}


def _policy_names(observations: Mapping[str, TensorSpec], chosen: Optional[List[str]]) -> List[str]:
    return chosen or [name for name in observations if not is_privileged(name)] or list(observations)


def _model_cfg(extractor: FeatureExtractor) -> ModelCfg:
    return ModelCfg(inputs_name=list(extractor.names), concat_dict=extractor.is_flat)


class SquashedPolicy(SquashedGaussianModel):
    """A squashed Gaussian; mean and deviation depend on the observation.

    Args:
        extractor: Makes features of what the policy reads.
        observations: Observation name to specification.
        action: The action.
        layers: Widths and activation.
    """

    def __init__(
        self, extractor: FeatureExtractor, observations: Mapping[str, TensorSpec], action: TensorSpec, layers: Layers
    ) -> None:
        super().__init__(_model_cfg(extractor))
        self.extractor = extractor
        self.bind(observations)
        self.bind_actions({action.name: action})
        self.network = perceptron(extractor.size, layers, 2 * action.size)

    def compute(self, data_dict: Any) -> ModelOutput:
        """Return ``"mean_actions"`` and ``"log_std"``, which is not within its bounds yet, ``(B, *action_shape)``."""
        mean, log_std = self.network(self.extractor(data_dict)).chunk(2, dim=1)
        shape = (len(mean),) + (self._action_shape or ())
        return {"mean_actions": mean.reshape(shape), "log_std": log_std.reshape(shape)}

    def limit_log_std(self, log_std: torch.Tensor) -> torch.Tensor:
        """Return ``"log_std"`` softly within its bounds: a hard one would leave what has reached it no gradient."""
        half = 0.5 * (self.max_log_std - self.min_log_std)
        return torch.tanh(log_std) * half + (self.min_log_std + half)


class DeterministicPolicy(DeterministicModel):
    """A policy without chance whose actions fill their range by ``tanh``.

    Args:
        extractor: Makes features of what the policy reads.
        observations: Observation name to specification.
        action: The action.
        layers: Widths and activation.
    """

    def __init__(
        self, extractor: FeatureExtractor, observations: Mapping[str, TensorSpec], action: TensorSpec, layers: Layers
    ) -> None:
        super().__init__(_model_cfg(extractor))
        self.extractor = extractor
        self.action_range = ActionRange()
        self.bind(observations)
        self.bind_actions({action.name: action})
        self.network = perceptron(extractor.size, layers, action.size)

    def bind_actions(self, specs: Dict[str, TensorSpec]) -> None:
        """Accept one bounded Box action."""
        self._action_shape = self.action_range.bind(specs, type(self).__name__).shape

    def compute(self, data_dict: Any) -> torch.Tensor:
        """Return actions, ``(B, *action_shape)``."""
        places = torch.tanh(self.network(self.extractor(data_dict)))
        return self.action_range.from_symmetric(places.reshape((len(places),) + self._action_shape))


class Critics(Model):
    """Independent critics of observations and actions, each a network of its own; they are computed side by side.

    Args:
        extractor: Makes features of the observations that the critics read, and of actions.
        specs: Observation and action name to specification.
        number: How many critics.
        layers: Widths and activation.
        atoms: Number of values over which each spreads probability; None: it names one value.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        specs: Mapping[str, TensorSpec],
        number: int,
        layers: Layers,
        atoms: Optional[int] = None,
    ) -> None:
        super().__init__(_model_cfg(extractor))
        self.extractor = extractor
        self.bind(specs)
        self.atoms = atoms
        self.networks = ParallelPerceptrons(number, extractor.size, layers, atoms or 1)

    def compute(self, data_dict: Any) -> ModelOutput:
        """Return ``"values"`` ``(B, number)``, or ``"logits"`` ``(B, number, atoms)``."""
        outputs = self.networks(self.extractor(data_dict)).transpose(0, 1)
        return {"values": outputs.squeeze(2)} if self.atoms is None else {"logits": outputs}

    def compute_first(self, data_dict: Any) -> torch.Tensor:
        """Return the first critic's values alone, ``(B, 1)``."""
        return self.networks(self.extractor(data_dict), only=0)


class QNetwork(Model):
    """Values of all categories of a Discrete action.

    Args:
        extractor: Makes features of what the network reads.
        observations: Observation name to specification.
        categories: Number of actions.
        dueling: Whether a state's value and the actions' advantages have separate outputs.
        layers: Widths and activation.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        observations: Mapping[str, TensorSpec],
        categories: int,
        dueling: bool,
        layers: Layers,
    ) -> None:
        super().__init__(_model_cfg(extractor))
        self.extractor = extractor
        self.bind(observations)
        self.dueling = dueling
        self.network = perceptron(extractor.size, layers, categories + int(dueling))

    def compute(self, data_dict: Any) -> torch.Tensor:
        """Return values, ``(B, categories)``."""
        values = self.network(self.extractor(data_dict))
        if not self.dueling:
            return values
        state, advantages = values[:, :1], values[:, 1:]
        # Only advantages around 0 leave the state's value a meaning.
        return state + advantages - advantages.mean(dim=1, keepdim=True)
