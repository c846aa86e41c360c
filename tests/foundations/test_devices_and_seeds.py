"""Devices by name, and the process-wide random generators."""

import random
from typing import Any

import numpy as np
import pytest
import torch

from AquaML.coordinator.coordinator import Coordinator, default_coordinator, set_default_coordinator
from AquaML.coordinator.device import agree_on_device, resolve_device
from AquaML.coordinator.random_state import RandomState, preserved_random_state, seed_everything
from AquaML.errors import AquaMLError, ConfigError, DeviceError, StateError


def draw() -> Any:
    return [random.random(), random.gauss(0, 1), np.random.rand(), np.random.randn(), torch.randn(3).tolist()]


def test_names_that_every_machine_has() -> None:
    assert resolve_device("cpu") == resolve_device("cpu:0") == torch.device("cpu")
    assert resolve_device(torch.device("cpu", 0)) == torch.device("cpu")
    expected = "cuda:0" if torch.cuda.is_available() else "cpu"
    assert str(resolve_device("auto")) == expected


@pytest.mark.parametrize("name", ["gpu", "cpu:x", "cuda:-1", "cuda:x", "", "meta", "CPU", 3, None, True, ["cpu"]])
def test_nonsense_lists_what_there_is(name: Any) -> None:
    with pytest.raises(DeviceError) as caught:
        resolve_device(name)
    assert str(caught.value).startswith("Unknown device {!r}; expected 'auto', 'cpu', 'cuda'".format(name))
    assert isinstance(caught.value, RuntimeError)


def test_devices_that_this_machine_lacks() -> None:
    missing = "cuda:{}".format(torch.cuda.device_count())
    with pytest.raises(DeviceError, match="'{}' was asked for, but".format(missing)):
        resolve_device(missing)
    if not torch.cuda.is_available():
        for name in ("cuda", "cuda:1"):
            with pytest.raises(DeviceError, match="sees no CUDA device here; use 'cpu' or 'auto', or install"):
                resolve_device(name)
    with pytest.raises(DeviceError, match="'mps:7' is not available on this machine; use 'cpu' or 'auto'"):
        resolve_device("mps:7")


def test_agreement_on_one_device() -> None:
    assert agree_on_device({"agent": "auto", "policy": "auto"}) is None
    assert agree_on_device({"agent": "auto", "policy": "cpu:0", "value": "cpu"}) == torch.device("cpu")
    with pytest.raises(DeviceError, match="Unknown device 'gpu'"):
        agree_on_device({"agent": "auto", "policy": "gpu"})


def test_disagreement_names_who_and_what() -> None:
    coordinator = Coordinator("cpu")
    coordinator.require_device(torch.device("cpu"), "PPO")
    Coordinator("auto").require_device(torch.device("meta"), "PPO")
    with pytest.raises(DeviceError, match="The coordinator's device is 'cpu', but PPO lives on 'meta'"):
        coordinator.require_device(torch.device("meta"), "PPO")


def test_default_coordinator_is_made_once_and_replaceable() -> None:
    first = default_coordinator()
    assert default_coordinator() is first
    other = Coordinator("cpu")
    set_default_coordinator(other)
    assert default_coordinator() is other
    with pytest.raises(AquaMLError, match="Expected a Coordinator or None, got 'cpu'"):
        set_default_coordinator("cpu")  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, "1", None, True])
def test_seed_out_of_range(seed: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        seed_everything(seed)
    assert str(caught.value) == "seed is {!r}; expected an integer from 0 to 4294967295.".format(seed)


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1, np.int64(7)])
def test_seed_repeats_every_stream(seed: Any) -> None:
    assert seed_everything(seed) == int(seed)
    first = draw()
    draw()
    seed_everything(seed)
    assert draw() == first


def test_state_restores_every_stream_in_the_middle_of_a_pair() -> None:
    draw()  # the second number of a Gaussian pair is cached now, in Python and numpy
    state = RandomState()
    saved = state.state_dict()
    state.validate_state(saved)
    first = draw()
    state.load_state_dict(saved)
    assert draw() == first
    with preserved_random_state():
        inside = draw()
    assert draw() == inside
    with pytest.raises(KeyError), preserved_random_state():
        inside = draw()
        raise KeyError
    assert draw() == inside


@pytest.mark.parametrize(
    "change",
    [{"python": 3}, {"python": (3, (1, 2), None)}, {"numpy": {}}, {"torch": torch.zeros(3)}, {"torch": None}],
)
def test_broken_state_is_refused_without_moving_a_stream(change: Any) -> None:
    state = RandomState()
    saved = state.state_dict()
    with pytest.raises(StateError, match="random state"):
        state.validate_state(dict(saved, **change))
    first = draw()
    state.load_state_dict(saved)
    assert draw() == first
