"""Encoders: what turns the observations of each key into features, and the module that joins them."""

import copy
import math
from typing import Callable, Iterable, List, Mapping, Optional, Sequence, Tuple, Union

import torch
from torch import nn

from AquaML.environment.spaces import BOX, TensorSpec, join_names
from AquaML.errors import ModelError, did_you_mean
from AquaML.learning.model.features import as_numbers, category_sizes, flat_features
from AquaML.learning.model.networks import activation_layer, initialized_linear, multilayer_perceptron

Encoder = Union[nn.Module, Callable[[TensorSpec], nn.Module]]
"""A module for the values of one key, or what makes one from the key's specification (such as a class below)."""

_GAIN = math.sqrt(2.0)
_NATURE_LAYERS = ((32, 8, 4, 0), (64, 4, 2, 0), (64, 3, 1, 0))
"""Channels, kernel, stride and padding of each convolution in Mnih et al. (2015)."""
_SMALL_LAYERS = ((16, 3, 1, 1), (32, 3, 2, 1), (32, 3, 2, 1))
"""The same for images that are too small for those: padded, so that every size has an output."""
_NATURE_EDGE = 36
"""Shortest edge of an image for which the convolutions of Mnih et al. leave something over."""
_LAYOUTS = ("auto", "first", "last")


class FeatureExtractor(nn.Module):
    """Turns a dictionary of observations into one vector of features; each key has an encoder of its own.

    Keys without an encoder are encoded by :func:`default_encoder`: images by :class:`ImageEncoder`, everything else is
    passed through by :class:`FlatEncoder`.

    Args:
        specs: Observation name to specification.
        names: Observations that are read, in this order.
        encoders: Observation name to a module, which is copied so that policy and value function have weights of their
            own, or to what makes one from the key's :class:`~AquaML.environment.spaces.TensorSpec`. A module gets
            values as they are stored, ``(B, *shape)`` in the key's own type, and returns ``(B, features)``. Names that
            are in ``specs`` and not in ``names`` are left out.

    Attributes:
        names: What is read.
        size: Number of features.

    Raises:
        ModelError: A name is unknown, or an encoder does not make ``(B, features)`` of its key.
    """

    def __init__(
        self, specs: Mapping[str, TensorSpec], names: Sequence[str], encoders: Optional[Mapping[str, Encoder]] = None
    ) -> None:
        super().__init__()
        chosen = dict(encoders or {})
        _require_known(specs, names, "The inputs name")
        _require_known(specs, chosen, "encoders names")
        self.names: List[str] = list(names)
        # ModuleDict forbids dots and some names of its own; positions are always allowed.
        self.encoders = nn.ModuleList([_made(chosen.get(name, default_encoder), specs[name]) for name in self.names])
        sizes = [features_of(encoder, specs[name]) for name, encoder in zip(self.names, self.encoders)]
        self.size = sum(sizes)

    @property
    def is_flat(self) -> bool:
        """Whether every key is passed through: then ``ModelCfg(concat_dict=True)`` gives the same vector."""
        return all(isinstance(encoder, FlatEncoder) for encoder in self.encoders)

    def forward(self, observations: Union[Mapping[str, torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """Return the features ``(B, size)`` of observations ``(B, *shape)``, in the order of ``names``.

        One tensor is returned as it is: ``ModelCfg(concat_dict=True)`` joined the observations already.
        """
        if isinstance(observations, torch.Tensor):
            return observations
        features = [encoder(observations[name]) for name, encoder in zip(self.names, self.encoders)]
        return features[0] if len(features) == 1 else torch.cat(features, dim=1)


class FlatEncoder(nn.Module):
    """Passes values through as features: categories one-hot, bytes scaled to 0 … 1, everything flattened.

    Args:
        spec: The key's specification.
    """

    def __init__(self, spec: TensorSpec) -> None:
        super().__init__()
        self.size = spec.one_hot_size
        self._sizes = category_sizes(spec)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return ``(B, size)`` float32 of ``(B, *shape)``."""
        return flat_features(values, self._sizes)


class MLPEncoder(nn.Module):
    """A multilayer perceptron over the values of one key.

    Args:
        spec: The key's specification.
        hidden_sizes: Width of each layer; the last one is the number of features.
        activation: A name from :data:`~AquaML.learning.model.networks.ACTIVATIONS`.

    Raises:
        ModelError: There is no layer, or the activation is unknown.
    """

    def __init__(self, spec: TensorSpec, hidden_sizes: Sequence[int] = (64,), activation: str = "tanh") -> None:
        super().__init__()
        if not hidden_sizes:
            raise ModelError("MLPEncoder: hidden_sizes is empty; give at least one width, or use FlatEncoder.")
        self.flat = FlatEncoder(spec)
        self.layers = multilayer_perceptron(self.flat.size, hidden_sizes, activation)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return ``(B, hidden_sizes[-1])`` of ``(B, *shape)``."""
        return self.layers(self.flat(values))


class ImageEncoder(nn.Module):
    """Convolutions over the images of one key.

    Images of at least 36 x 36 go through the network of Mnih et al. (2015, "Human-level control through deep
    reinforcement learning"), smaller ones through three padded 3 x 3 convolutions, the last two of stride 2. A linear
    layer follows. Bytes are scaled to 0 … 1; other types are taken as numbers as they are.

    Args:
        spec: The key's specification: ``(H, W, C)``, ``(C, H, W)``, ``(H, W)``, or several of the first two,
            ``(L, H, W, C)`` or ``(L, C, H, W)`` as a history gives them, whose channels are put on top of each other.
        features: Number of features; None: 512 for the larger network, as published, and 128 for the smaller.
        channels: Where the channels stand: ``"last"``, ``"first"``, or ``"auto"``: first if that axis is the shortest
            of the three, else last, as Gymnasium has them.
        activation: A name from :data:`~AquaML.learning.model.networks.ACTIVATIONS`.

    Raises:
        ModelError: The key is no image, or an option is unknown.
    """

    def __init__(
        self, spec: TensorSpec, features: Optional[int] = None, channels: str = "auto", activation: str = "relu"
    ) -> None:
        super().__init__()
        self.channels_last = _channels_last(spec, channels)
        last = spec.shape[-3:] if self.channels_last else spec.shape[-2:]
        self.height, self.width = int(last[0]), int(last[1])
        self.channels = spec.size // (self.height * self.width)
        is_large = min(self.height, self.width) >= _NATURE_EDGE
        self.convolutions = _convolutions(self.channels, _NATURE_LAYERS if is_large else _SMALL_LAYERS, activation)
        self.size = (512 if is_large else 128) if features is None else int(features)
        with torch.no_grad():
            inner = self.convolutions(torch.zeros(1, self.channels, self.height, self.width)).numel()
        self.output = nn.Sequential(initialized_linear(inner, self.size, _GAIN), activation_layer(activation))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return ``(B, size)`` of images ``(B, *shape)``."""
        images = values.movedim(-1, -3) if self.channels_last else values
        images = images.reshape(len(values), self.channels, self.height, self.width)
        return self.output(self.convolutions(as_numbers(images)).flatten(1))


def default_encoder(spec: TensorSpec) -> nn.Module:
    """Return the encoder of a key for which none was named.

    Args:
        spec: The key's specification. Bytes of three axes, or of four as a history of images has them, are images.
    """
    is_image = spec.kind == BOX and spec.dtype == "uint8" and len(spec.shape) in (3, 4)
    return ImageEncoder(spec) if is_image else FlatEncoder(spec)


def features_of(encoder: nn.Module, spec: TensorSpec) -> int:
    """Return how many features an encoder makes of a key, by asking it once with zeros.

    Args:
        encoder: The module.
        spec: The key's specification.

    Raises:
        ModelError: It fails on the key, or returns something else than ``(B, features)`` of real numbers.
    """
    first = next(encoder.parameters(), None)
    dtype: torch.dtype = getattr(torch, spec.dtype)
    values = torch.zeros((2,) + spec.shape, dtype=dtype, device=None if first is None else first.device)
    was_training = encoder.training
    # Dropout would move the random streams, and a batch norm take the zeros into its statistics.
    encoder.eval()
    try:
        with torch.no_grad():
            result = encoder(values)
    except Exception as error:
        raise ModelError(
            "The encoder of '{}', a {}, failed on {} values of shape (B, {}): {}. It gets observations as they are "
            "stored; convert them in its forward().".format(
                spec.name, type(encoder).__name__, spec.dtype, ", ".join(map(str, spec.shape)), error
            )
        ) from error
    finally:
        encoder.train(was_training)
    if not isinstance(result, torch.Tensor) or result.dim() != 2 or len(result) != 2 or not result.is_floating_point():
        given = "{} of shape {}".format(result.dtype, tuple(result.shape)) if isinstance(result, torch.Tensor) else ""
        raise ModelError(
            "The encoder of '{}', a {}, returned {} for 2 rows; expected real numbers of shape (2, features).".format(
                spec.name, type(encoder).__name__, given or type(result).__name__
            )
        )
    return int(result.shape[1])


def _require_known(specs: Mapping[str, TensorSpec], names: Iterable[str], owner: str) -> None:
    for name in names:
        if name not in specs:
            raise ModelError(
                "{} '{}', but the observations are {}.{}".format(
                    owner, name, join_names(specs), did_you_mean(name, specs)
                )
            )


def _made(encoder: Encoder, spec: TensorSpec) -> nn.Module:
    if isinstance(encoder, nn.Module):
        return copy.deepcopy(encoder)
    made = encoder(spec) if callable(encoder) else None
    if not isinstance(made, nn.Module):
        raise ModelError(
            "The encoder of '{}' is {!r}; expected a torch module, or a function or class that makes one from the "
            "observation's specification, such as ImageEncoder.".format(spec.name, encoder)
        )
    return made


def _channels_last(spec: TensorSpec, channels: str) -> bool:
    if channels not in _LAYOUTS:
        raise ModelError("ImageEncoder: channels is {!r}.{}".format(channels, did_you_mean(channels, _LAYOUTS)))
    if spec.kind != BOX or len(spec.shape) not in (2, 3, 4):
        raise ModelError(
            "ImageEncoder: '{}' is {} of shape {}; expected a Box of shape (H, W, C), (C, H, W) or (H, W), or a "
            "history of such. Use MLPEncoder or FlatEncoder.".format(spec.name, spec.kind, spec.shape)
        )
    if len(spec.shape) == 2:
        return False
    if channels != "auto":
        return channels == "last"
    first, height, width = spec.shape[-3:]
    return not first < min(height, width)


def _convolutions(channels: int, layers: Sequence[Tuple[int, int, int, int]], activation: str) -> nn.Sequential:
    modules: List[nn.Module] = []
    for outputs, kernel, stride, padding in layers:
        layer = nn.Conv2d(channels, outputs, kernel, stride, padding)
        nn.init.orthogonal_(layer.weight, _GAIN)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        modules += [layer, activation_layer(activation)]
        channels = outputs
    return nn.Sequential(*modules)
