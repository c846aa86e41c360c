"""Ready-made networks for any observation and action space."""

import functools
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Union

from AquaML.environment.spaces import TensorSpec, is_privileged
from AquaML.errors import ModelError, did_you_mean
from AquaML.learning.model.base import Model, ModelOutput, action_feature_shape
from AquaML.learning.model.beta import BetaModel
from AquaML.learning.model.composite import CompositeModel
from AquaML.learning.model.encoders import Encoder, FeatureExtractor
from AquaML.learning.model.gaussian import GaussianModel
from AquaML.learning.model.model_cfg import ModelCfg
from AquaML.learning.model.networks import initialized_linear, multilayer_perceptron
from AquaML.learning.model.ready_made_policies import BOX_POLICIES, Heads, policy_class, prepare_std
from AquaML.learning.model.ready_made_recurrent import RecurrentExtractor, RecurrentHeads
from AquaML.learning.model.recurrent import CELLS
from AquaML.learning.model.sequences import RESETS
from AquaML.learning.model.stochastic import StochasticModel

Extractor = Union[FeatureExtractor, RecurrentExtractor]


def default_models(
    env_info: Mapping[str, Any],
    hidden_sizes: Sequence[int] = (64, 64),
    activation: str = "tanh",
    shared: bool = False,
    initial_log_std: float = 0.0,
    policy_inputs: Optional[List[str]] = None,
    value_inputs: Optional[List[str]] = None,
    distribution: str = "gaussian",
    encoders: Optional[Mapping[str, Encoder]] = None,
    state_dependent_std: bool = False,
    min_log_std: Optional[float] = None,
    max_log_std: Optional[float] = None,
    recurrent: Optional[str] = None,
    recurrent_size: int = 64,
) -> Dict[str, Model]:
    """Make a policy and a value function that suit an environment.

    Hidden layers are orthogonal with gain sqrt(2), the policy's output with gain 0.01, the value's with gain 1, all
    biases zero (Andrychowicz et al., 2021, "What matters in on-policy reinforcement learning").

    Args:
        env_info: ``env.getEnvInfo()``.
        hidden_sizes: Width of each hidden layer.
        activation: ``"tanh"``, ``"elu"``, ``"relu"``, ``"silu"`` or ``"leaky_relu"``.
        shared: True: one network with a common trunk stands under both names and is evaluated once.
        initial_log_std: Logarithm of the initial standard deviation of Box actions.
        policy_inputs: Observations for the policy; None: all but ``"privileged"`` and what is below it.
        value_inputs: Observations for the value function; None: all.
        distribution: Of Box actions: ``"gaussian"``, ``"multivariate"`` (a Gaussian with a full covariance),
            ``"squashed"`` (a Gaussian squashed into the action's bounds) or ``"beta"``. The latter two need bounds.
        encoders: Observation name to what turns it into features, see
            :class:`~AquaML.learning.model.encoders.FeatureExtractor`. By default images go through convolutions and
            everything else is passed through. Policy and value function have encoders of their own, unless
            ``shared``.
        state_dependent_std: True: the network computes standard deviations (of ``"multivariate"``, the whole factor)
            from the observation, softly bounded; False: they are a free parameter.
        min_log_std: Floor of the logarithm of the standard deviation; None: the distribution's own, -20, or -5 if
            ``"squashed"``.
        max_log_std: Cap of the logarithm of the standard deviation; None: the distribution's own, 2.
        recurrent: ``"gru"`` or ``"lstm"``: features go through a recurrent layer before the hidden layers, one for the
            policy and one for the value function unless ``shared``; None: no memory.
        recurrent_size: Number of features of the recurrent layer.

    Returns:
        ``{"policy": …, "value": …}``.

    Raises:
        ModelError: ``shared`` was asked for several actions or different inputs, a name is unknown, or an action lacks
            the bounds that the distribution needs. Or the standard deviation does not begin between its bounds, or
            the distribution has none.
    """
    if distribution not in BOX_POLICIES:
        raise ModelError(
            "default_models: distribution is {!r}.{}".format(distribution, did_you_mean(distribution, BOX_POLICIES))
        )
    std_bounds = {
        name: value for name, value in (("min_log_std", min_log_std), ("max_log_std", max_log_std)) if value is not None
    }
    if distribution == "beta" and (std_bounds or state_dependent_std):
        raise ModelError(
            "default_models: a policy with distribution='beta' has no standard deviation; leave state_dependent_std, "
            "min_log_std and max_log_std out, or use distribution='squashed'."
        )
    if recurrent is not None and recurrent not in CELLS:
        raise ModelError("default_models: recurrent is {!r}.{}".format(recurrent, did_you_mean(str(recurrent), CELLS)))
    observations: Dict[str, TensorSpec] = env_info["observation_cfg"]
    actions: Dict[str, TensorSpec] = env_info["action_cfg"]
    extractor_of = functools.partial(_extractor, observations, encoders, recurrent, recurrent_size)
    names = policy_inputs or [name for name in observations if not is_privileged(name)] or list(observations)
    options: Dict[str, Any] = {
        "hidden_sizes": tuple(hidden_sizes),
        "activation": activation,
        "initial_log_std": initial_log_std,
        "distribution": distribution,
        "extractor_of": extractor_of,
        "state_dependent_std": state_dependent_std,
        "std_bounds": std_bounds,
    }
    if shared:
        if len(actions) > 1:
            raise ModelError("default_models(shared=True) is for one action; there are {}.".format(list(actions)))
        if value_inputs is not None and value_inputs != names:
            raise ModelError("default_models(shared=True) has one trunk: policy_inputs and value_inputs must be equal.")
        model = _policy(next(iter(actions.values())), names, observations, with_values=True, **options)
        return {"policy": model, "value": model}
    policies = {
        name: _policy(spec, names, observations, with_values=False, **options) for name, spec in actions.items()
    }
    policy = next(iter(policies.values())) if len(policies) == 1 else CompositeModel(policies)
    value_class: Any = _Value if recurrent is None else _RecurrentValue
    value = value_class(observations, extractor_of(value_inputs or list(observations)), hidden_sizes, activation)
    return {"policy": policy, "value": value}


def _policy(
    action: TensorSpec,
    inputs: List[str],
    observations: Dict[str, TensorSpec],
    with_values: bool,
    hidden_sizes: Sequence[int],
    activation: str,
    initial_log_std: float,
    distribution: str,
    extractor_of: Callable[[List[str]], Extractor],
    state_dependent_std: bool,
    std_bounds: Dict[str, float],
) -> StochasticModel:
    extractor: Any = extractor_of(inputs)
    kind = policy_class(action, distribution)
    model: Any = kind(_cfg_of(extractor), **(std_bounds if issubclass(kind, GaussianModel) else {}))
    model.bind(observations)
    model.bind_actions({action.name: action})
    shape = action_feature_shape(action)
    if isinstance(model, BetaModel):
        shape += (2,)
    model.heads = Heads(extractor, shape, hidden_sizes, activation, with_values)
    if isinstance(model, GaussianModel):
        prepare_std(model, action, initial_log_std, state_dependent_std)
    if isinstance(extractor, RecurrentExtractor):
        model.heads = RecurrentHeads(model.heads)
        model.recurrent_state = model.heads.recurrent_state
    return model


def _extractor(
    observations: Mapping[str, TensorSpec],
    encoders: Optional[Mapping[str, Encoder]],
    recurrent: Optional[str],
    recurrent_size: int,
    inputs: List[str],
) -> Extractor:
    extractor = FeatureExtractor(observations, inputs, encoders)
    return extractor if recurrent is None else RecurrentExtractor(extractor, recurrent, recurrent_size)


def _cfg_of(extractor: Extractor) -> ModelCfg:
    # What needs no encoder is joined once per rollout, before the passes over it.
    return ModelCfg(inputs_name=list(extractor.names), concat_dict=extractor.is_flat)


class _Value(Model):
    def __init__(
        self,
        observations: Dict[str, TensorSpec],
        extractor: Extractor,
        hidden_sizes: Sequence[int],
        activation: str,
    ) -> None:
        super().__init__(_cfg_of(extractor))
        self.bind(observations)
        self.extractor = extractor
        self.trunk = multilayer_perceptron(extractor.size, hidden_sizes, activation)
        self.output = initialized_linear(hidden_sizes[-1] if hidden_sizes else extractor.size, 1, 1.0)

    def compute(self, data_dict: Any) -> Any:
        return self.output(self.trunk(self.extractor(data_dict)))


class _RecurrentValue(_Value):
    extractor: RecurrentExtractor

    def __init__(
        self,
        observations: Dict[str, TensorSpec],
        extractor: RecurrentExtractor,
        hidden_sizes: Sequence[int],
        activation: str,
    ) -> None:
        super().__init__(observations, extractor, hidden_sizes, activation)
        self.recurrent_state = extractor.encoder.recurrent_state

    def compute(self, data_dict: Any) -> ModelOutput:
        features, states = self.extractor.remember(data_dict)
        values = super().compute(features)
        return dict(states, values=values.reshape(data_dict[RESETS].shape))
