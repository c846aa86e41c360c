"""A policy made of one model per action of a Dict action space."""

from typing import Any, Dict, Mapping, Tuple

import torch

from AquaML.environment.spaces import TensorSpec, join_names
from AquaML.errors import ModelError
from AquaML.learning.model.base import ModelInput, ModelOutput
from AquaML.learning.model.model_cfg import ModelCfg
from AquaML.learning.model.sequences import RESETS
from AquaML.learning.model.stochastic import Parameters, StochasticModel


class CompositeModel(StochasticModel):
    """Independent policies side by side: ``"actions"`` is a dictionary and ``"log_prob"`` their sum.

    Each part reads its own ``inputs_name``. Parameters, outputs and recurrent states of a part carry its action's name
    before a ``/``.

    Args:
        models: Action name to the policy for it.

    Raises:
        ModelError: There is no part, or a part is no distribution.
    """

    names_actions = True

    def __init__(self, models: Mapping[str, StochasticModel]) -> None:
        if not models:
            raise ModelError("CompositeModel needs at least one model; give {action name: model}.")
        for name, model in models.items():
            if not isinstance(model, StochasticModel):
                raise ModelError(
                    "CompositeModel['{}'] is a {}; expected a distribution such as GaussianModel or "
                    "CategoricalModel.".format(name, type(model).__name__)
                )
        super().__init__(ModelCfg(inputs_name=_union_of_inputs(models)))
        self._names = list(models)
        self.recurrent_state = {
            "{}/{}".format(name, state): shape
            for name, model in models.items()
            for state, shape in model.recurrent_state.items()
        }
        # ModuleDict forbids dots and some names of its own; positions are always allowed.
        self.parts = torch.nn.ModuleList(list(models.values()))

    @property
    def models(self) -> Dict[str, StochasticModel]:
        """Action name to part."""
        return dict(zip(self._names, self.parts))  # type: ignore[arg-type]

    def bind(self, specs: Mapping[str, TensorSpec]) -> None:
        """Tell every part the observation space."""
        self._said_all_inputs = True
        super().bind(specs)
        for model in self.models.values():
            model.bind(specs)

    def bind_actions(self, specs: Dict[str, TensorSpec]) -> None:
        """Give every part its action."""
        if set(specs) != set(self._names):
            raise ModelError(
                "CompositeModel has models for {}, but the actions are {}.".format(
                    join_names(self._names), join_names(specs)
                )
            )
        for name, model in self.models.items():
            model.bind_actions({name: specs[name]})

    def outputs(self, data_dict: ModelInput) -> ModelOutput:
        """Return what :meth:`compute` returned; parts with memory make sequences of the rows themselves."""
        return self.compute(self.select_inputs(data_dict))

    def compute(self, data_dict: Any) -> ModelOutput:
        """Run every part and join the outputs."""
        joined: ModelOutput = {}
        observations = data_dict
        if self.recurrent_state:
            observations = {name: data_dict[name] for name in self.input_names(data_dict)}
        for name, model in self.models.items():
            inputs = observations
            if model.recurrent_state:
                inputs = dict(observations, **_below(name, data_dict), **{RESETS: data_dict[RESETS]})
            joined.update({"{}/{}".format(name, key): value for key, value in model.outputs(inputs).items()})
        return joined

    def parameters_of(self, outputs: ModelOutput, rows: int) -> Parameters:
        """Return the parameters of all parts."""
        joined: Parameters = {}
        for name, model in self.models.items():
            parameters = model.parameters_of(_below(name, outputs), rows)
            joined.update({"{}/{}".format(name, key): value for key, value in parameters.items()})
        return joined

    def sample(self, parameters: Parameters) -> Dict[str, torch.Tensor]:
        """Draw an action from every part."""
        return {name: model.sample(_below(name, parameters)) for name, model in self.models.items()}

    @property
    def is_reparameterized(self) -> bool:  # type: ignore[override]
        """Whether gradients flow through all parts' samples."""
        return all(model.is_reparameterized for model in self.models.values())

    def sample_with_log_prob(self, parameters: Parameters) -> Tuple[Dict[str, torch.Tensor], torch.Tensor]:
        """Draw an action from every part; the log-densities are summed."""
        drawn = {name: model.sample_with_log_prob(_below(name, parameters)) for name, model in self.models.items()}
        return {name: actions for name, (actions, _) in drawn.items()}, _total([value for _, value in drawn.values()])

    def mode(self, parameters: Parameters) -> Dict[str, torch.Tensor]:
        """Return every part's likeliest action."""
        return {name: model.mode(_below(name, parameters)) for name, model in self.models.items()}

    def log_prob(self, parameters: Parameters, actions: Any) -> torch.Tensor:
        """Return the sum of the parts' log-probabilities, ``(B, 1)``."""
        return _total([model.log_prob(_below(name, parameters), actions[name]) for name, model in self.models.items()])

    def entropy(self, parameters: Parameters) -> torch.Tensor:
        """Return the sum of the parts' entropies, ``(B, 1)``."""
        return _total([model.entropy(_below(name, parameters)) for name, model in self.models.items()])

    def kl(self, old: Parameters, new: Parameters) -> torch.Tensor:
        """Return the sum of the parts' divergences, ``(B, 1)``."""
        return _total([model.kl(_below(name, old), _below(name, new)) for name, model in self.models.items()])


def _union_of_inputs(models: Mapping[str, StochasticModel]) -> Any:
    names = []
    for model in models.values():
        if model.model_cfg.inputs_name is None:
            return None
        names += [name for name in model.model_cfg.inputs_name if name not in names]
    return names


def _below(name: str, values: Mapping[str, Any]) -> Dict[str, Any]:
    prefix = name + "/"
    return {key[len(prefix) :]: value for key, value in values.items() if key.startswith(prefix)}


def _total(values: Any) -> torch.Tensor:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total
