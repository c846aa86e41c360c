"""The base class of all models: dictionary in, dictionary out."""

from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple, Union

import torch
from loguru import logger
from torch import nn

from AquaML.coordinator.device import AUTO, resolve_device
from AquaML.environment.spaces import BOX, TensorSpec, join_names
from AquaML.errors import ModelError, did_you_mean
from AquaML.learning.model.features import category_sizes, flat_features
from AquaML.learning.model.model_cfg import ModelCfg
from AquaML.learning.model.sequences import FEATURES, RESERVED, RESETS, as_rows, as_sequences

DataDict = Dict[str, torch.Tensor]
ModelInput = Union[DataDict, torch.Tensor]
ModelOutput = Dict[str, Any]


class Model(nn.Module):
    """A network that reads observations by name.

    Subclasses write :meth:`compute`. It gets a dictionary with exactly the keys of ``inputs_name``, in that order, or
    one tensor ``(B, features)`` if ``concat_dict`` is set, and returns a dictionary, or a bare tensor where there is
    one output. A plain ``Model`` is a value function: its output is ``"values"`` of shape ``(B, 1)``.

    A model with a :attr:`recurrent_state` is recurrent. Its ``compute`` sees sequences: observations ``(B, L, *shape)``
    (``"features"`` ``(B, L, features)`` if ``concat_dict`` is set), each recurrent state by its name, ``(B, *shape)``,
    as it was before the first step, and ``"resets"`` ``(B, L, 1)`` bool, True where an episode begins and the state
    before that step is therefore zero. It returns its outputs ``(B, L, ...)`` and, under the same names, the states
    after the last step. Everybody else sees rows: the steps of the first sequence, then those of the second, and so on.

    Args:
        model_cfg: Inputs and device. The agent moves the model to its device when it takes it.

    Raises:
        ConfigError: A field of the configuration is wrong.
        DeviceError: The configuration names a device that this machine lacks.
    """

    output_name = "values"
    """What a bare tensor returned by ``compute`` is called."""

    recurrent_state: Mapping[str, Tuple[int, ...]] = {}
    """Name of each recurrent state to the shape of one row of it; empty for a model without memory."""

    def __init__(self, model_cfg: ModelCfg) -> None:
        super().__init__()
        if not isinstance(model_cfg, ModelCfg):
            raise ModelError("{} expects a ModelCfg, got {!r}.".format(type(self).__name__, type(model_cfg).__name__))
        self.model_cfg = model_cfg.take(type(self).__name__)
        if model_cfg.device != AUTO:
            resolve_device(model_cfg.device)
        self._specs: Optional[Dict[str, TensorSpec]] = None
        self._said_all_inputs = False

    @property
    def device(self) -> torch.device:
        """Where the parameters are; the CPU for a model without any."""
        first = next(self.parameters(), None)
        return torch.device("cpu") if first is None else first.device

    def bind(self, specs: Mapping[str, TensorSpec]) -> None:
        """Tell the model the observation space; the agent does this when it learns it.

        Args:
            specs: Observation name to specification.

        Raises:
            ModelError: ``inputs_name`` holds a key that the environment does not have.
        """
        names = self.model_cfg.inputs_name
        if self.recurrent_state:
            self._check_state_names(specs)
        for name in names or ():
            if name not in specs:
                raise ModelError(
                    "{}.inputs_name asks for '{}', but the observations are {}.{}".format(
                        type(self).__name__, name, join_names(specs), did_you_mean(name, specs)
                    )
                )
        if names is None and len(specs) > 1 and not self._said_all_inputs:
            self._said_all_inputs = True
            logger.info("{} has no inputs_name and sees all observations: {}.", type(self).__name__, join_names(specs))
        self._specs = dict(specs)

    def _check_state_names(self, specs: Mapping[str, TensorSpec]) -> None:
        for name in self.recurrent_state:
            if name in RESERVED:
                raise ModelError(
                    "{}.recurrent_state has the name '{}', which means something else; choose another one.".format(
                        type(self).__name__, name
                    )
                )
        for name in list(self.recurrent_state) + [RESETS, FEATURES]:
            if name in specs:
                raise ModelError(
                    "{} is recurrent and calls something '{}', but so is an observation; rename the {}.".format(
                        type(self).__name__, name, "state" if name in self.recurrent_state else "observation"
                    )
                )

    def input_names(self, available: Mapping[str, Any]) -> List[str]:
        """Return the observations that this model reads, given those there are."""
        if self.model_cfg.inputs_name is not None:
            return list(self.model_cfg.inputs_name)
        if self.recurrent_state:
            return [name for name in available if name not in self.recurrent_state and name != RESETS]
        return list(available)

    def initial_state(self, rows: int) -> DataDict:
        """Return what a recurrent model is given beside observations of one step where episodes begin.

        Args:
            rows: Number of observations.

        Returns:
            Each recurrent state, zeros, and ``"resets"`` ``(rows, 1)``, True; nothing for a model without memory.
        """
        if not self.recurrent_state:
            return {}
        states = {
            name: torch.zeros((rows,) + tuple(shape), device=self.device)
            for name, shape in self.recurrent_state.items()
        }
        return dict(states, **{RESETS: torch.ones((rows, 1), dtype=torch.bool, device=self.device)})

    def select_inputs(self, data_dict: ModelInput) -> ModelInput:
        """Return what ``compute`` expects: the named keys alone, or one tensor if ``concat_dict`` is set.

        A recurrent model's states and resets go along, so that with ``concat_dict`` there is a dictionary with
        ``"features"``. Selecting twice changes nothing.

        Raises:
            ModelError: A key is missing.
        """
        if isinstance(data_dict, torch.Tensor):
            if not self.model_cfg.concat_dict or self.recurrent_state:
                raise ModelError(
                    "{} expects a dict of tensors with the keys {}, got a tensor. Pass {{'state': tensor}}, or set "
                    "ModelCfg.concat_dict.".format(
                        type(self).__name__, self.model_cfg.inputs_name or "of the observations"
                    )
                )
            return data_dict
        if self.recurrent_state:
            return self._select_with_states(data_dict)
        return self._select_observations(data_dict)

    def _select_with_states(self, data_dict: DataDict) -> DataDict:
        own = list(self.recurrent_state) + [RESETS]
        missing = [name for name in own if name not in data_dict]
        if missing:
            raise ModelError(
                "{} is recurrent and needs {} beside the observations, but got {}. initial_state(rows) gives them "
                "where episodes begin.".format(type(self).__name__, join_names(missing), join_names(data_dict))
            )
        if self.model_cfg.concat_dict and FEATURES in data_dict:
            selected: Any = data_dict[FEATURES]
        else:
            selected = self._select_observations(data_dict)
        observations = {FEATURES: selected} if isinstance(selected, torch.Tensor) else selected
        return dict(observations, **{name: data_dict[name] for name in own})

    def _select_observations(self, data_dict: DataDict) -> ModelInput:
        names = self.input_names(data_dict)
        missing = [name for name in names if name not in data_dict]
        if missing:
            raise ModelError(
                "{} needs the observation {}, but got {}.{}".format(
                    type(self).__name__, join_names(missing), join_names(data_dict), did_you_mean(missing[0], data_dict)
                )
            )
        if self.model_cfg.concat_dict:
            features = [self._features(name, data_dict[name]) for name in names]
            return features[0] if len(features) == 1 else torch.cat(features, dim=1)
        return {name: data_dict[name] for name in names}

    def _features(self, name: str, values: torch.Tensor) -> torch.Tensor:
        spec = None if self._specs is None else self._specs.get(name)
        if spec is None and values.dtype == torch.int64:
            raise ModelError(
                "{} cannot one-hot '{}' before it knows the space: call model.bind(env.getEnvInfo()['observation_cfg'])"
                " or give the model to an agent first.".format(type(self).__name__, name)
            )
        return flat_features(values, () if spec is None else category_sizes(spec))

    def concatenated_size(self) -> int:
        """Number of features of the one tensor that ``concat_dict`` gives.

        Raises:
            ModelError: The model does not know the observation space yet.
        """
        if self._specs is None:
            raise ModelError(
                "{} does not know the observation space yet; call bind() first.".format(type(self).__name__)
            )
        return sum(self._specs[name].one_hot_size for name in self.input_names(self._specs))

    def compute(self, data_dict: Any) -> Any:
        """Run the network; subclasses write this.

        Args:
            data_dict: Name to tensor ``(B, ...)``, or one tensor if ``concat_dict`` is set.

        Returns:
            Output name to tensor ``(B, ...)``, or the only output as a bare tensor.
        """
        raise NotImplementedError("{} must define compute(self, data_dict).".format(type(self).__name__))

    def outputs(self, data_dict: ModelInput) -> ModelOutput:
        """Select the inputs, run :meth:`compute` and return its outputs as a dictionary.

        Raises:
            ModelError: ``compute`` returned no dictionary where several outputs are needed.
        """
        inputs = self.select_inputs(data_dict)
        if self.recurrent_state:
            return self._outputs_of_sequences(inputs)
        result = self.compute(inputs)
        if isinstance(result, torch.Tensor):
            return {self.output_name: result}
        if not isinstance(result, dict):
            raise ModelError(
                "{}.compute returned {}; expected a dict of tensors with '{}', or that tensor.".format(
                    type(self).__name__, type(result).__name__, self.output_name
                )
            )
        return result

    def _outputs_of_sequences(self, inputs: Any) -> ModelOutput:
        name = type(self).__name__
        sequences = as_sequences(inputs, self.recurrent_state, name)
        number, length = sequences[RESETS].shape[:2]
        return as_rows(self.compute(sequences), self.recurrent_state, (number, length), name)

    def act(self, data_dict: ModelInput) -> ModelOutput:
        """Return the outputs for acting; the same as :meth:`compute` unless the model is a distribution."""
        return self.outputs(data_dict)

    def act_deterministic(self, data_dict: ModelInput) -> ModelOutput:
        """Return the outputs for acting without chance; the same as :meth:`act` unless the model is a distribution."""
        return self.act(data_dict)

    def require_output(self, outputs: Any, name: str, shape: Tuple[Optional[int], ...]) -> torch.Tensor:
        """Return one output after checking its presence and shape.

        Args:
            outputs: What ``compute`` or ``act`` returned.
            name: The output's name.
            shape: Expected sizes; None accepts any.

        Raises:
            ModelError: Says which model, which output, and what was expected.
        """
        if not isinstance(outputs, Mapping) or name not in outputs:
            given = join_names(outputs) if isinstance(outputs, Mapping) else type(outputs).__name__
            raise ModelError(
                "{}.compute must return '{}' of shape {}; it returned {}.".format(
                    type(self).__name__, name, shape_text(shape), given or "nothing"
                )
            )
        value = outputs[name]
        if not isinstance(value, torch.Tensor):
            raise ModelError(
                "{}.compute returned '{}' as {}; expected a tensor of shape {}.".format(
                    type(self).__name__, name, type(value).__name__, shape_text(shape)
                )
            )
        fits = value.dim() == len(shape) and all(want in (None, have) for want, have in zip(shape, value.shape))
        if not fits:
            raise ModelError(
                "{}.compute returned '{}' of shape {}; expected {}, where B is the number of rows of the input.".format(
                    type(self).__name__, name, tuple(value.shape), shape_text(shape)
                )
            )
        return value

    def forward(self, data_dict: ModelInput) -> ModelOutput:
        """Run :meth:`act`, so that a model can be called like any torch module."""
        return self.act(data_dict)


Binding = List[Tuple[nn.Module, Dict[str, Any]]]


def binding_of(models: Iterable[nn.Module]) -> Binding:
    """Return every module with its attributes, among them what ``bind`` told a model, for :func:`rebind`."""
    modules = [module for model in models for module in model.modules()]
    return [
        (module, {name: dict(value) if type(value) is dict else value for name, value in vars(module).items()})
        for module in modules
    ]


def rebind(binding: Binding) -> None:
    """Undo what ``bind`` and ``bind_actions`` changed since :func:`binding_of`; numbers in tensors stay."""
    for module, attributes in binding:
        vars(module).clear()
        vars(module).update(attributes)


def shape_text(shape: Tuple[Optional[int], ...]) -> str:
    """Return a shape for messages; the first unknown size is called B."""
    names = [
        "B" if index == 0 and size is None else "any" if size is None else str(size) for index, size in enumerate(shape)
    ]
    return "({})".format(", ".join(names) + ("," if len(names) == 1 else ""))


def rows_of(data_dict: ModelInput) -> int:
    """Return the number of rows of a model's input."""
    first = data_dict if isinstance(data_dict, torch.Tensor) else next(iter(data_dict.values()))
    return int(first.shape[0])


def action_feature_shape(spec: TensorSpec) -> Tuple[int, ...]:
    """Return the shape, without the batch axis, of what a policy computes for one action: means or logits."""
    return spec.shape if spec.kind == BOX else (sum(spec.sizes),)
