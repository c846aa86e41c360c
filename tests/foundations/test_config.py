"""Configurations: names, types, ranges, freezing, copies and files."""

import copy
import dataclasses
import importlib
import pickle
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from AquaML.config import Config, matches_type, option
from AquaML.errors import AquaMLError, ConfigError, FrozenConfigError
from AquaML.learning.model.normalizer_cfg import NormalizerCfg
from AquaML.learning.reinforcement.on_policy.ppo_cfg import PPOCfg
from AquaML.learning.trainers.trainer_cfg import TrainerConfig


@dataclasses.dataclass
class InnerCfg(Config):
    rate: float = option(0.1, above=0.0, below=1.0)


@dataclasses.dataclass
class OuterCfg(Config):
    count: int = option(3, at_least=1, at_most=10)
    mode: str = option("fast", choices=("fast", "slow"))
    inner: InnerCfg = option(factory=InnerCfg)
    maybe: Optional[List[str]] = option(None)
    sizes: Tuple[int, ...] = option((64, 64))
    pair: Tuple[int, str] = option((1, "a"))
    listed: List[InnerCfg] = option(factory=list)
    named: Optional[Dict[str, Union[bool, InnerCfg]]] = option(None)
    function: Optional[Callable[..., Any]] = option(None)
    kind: Optional[type] = option(None)
    anything: Dict[str, Any] = option(factory=dict)


def filled() -> OuterCfg:
    return OuterCfg(
        count=7,
        inner=InnerCfg(rate=0.25),
        maybe=["b", "a"],
        sizes=(1, 2, 3),
        listed=[InnerCfg(0.5), InnerCfg(0.75)],
        named={"x": True, "y": InnerCfg(0.125)},
        anything={"deep": {"list": [1, 2.5, None]}},
    )


def message(call: Callable[[], Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        call()
    assert isinstance(caught.value, AquaMLError) and isinstance(caught.value, ValueError)
    return str(caught.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda: PPOCfg(ratio_clp=0.1),
        lambda: setattr(PPOCfg(), "ratio_clp", 0.1),
        lambda: PPOCfg.from_dict({"ratio_clp": 0.1}),
        lambda: PPOCfg().copy(ratio_clp=0.1),
    ],
    ids=["construction", "assignment", "dictionary", "copy"],
)
def test_misspelt_name_is_told_with_the_nearest_one(call: Callable[[], Any]) -> None:
    text = message(call)
    assert "PPOCfg has no field 'ratio_clp'" in text and "Did you mean 'ratio_clip'?" in text


def test_misspelt_name_in_a_nested_dictionary_and_in_files() -> None:
    values = {"observation_normalizer_by_key": {"image": {"clipp": 5.0}}}
    assert "NormalizerCfg has no field 'clipp'. Did you mean 'clip'?" in message(lambda: PPOCfg.from_dict(values))
    Path("a.yaml").write_text("observation_normalizer:\n  frozzen: true\n", encoding="utf-8")
    assert "Did you mean 'frozen'?" in message(lambda: PPOCfg.load("a.yaml"))
    Path("a.json").write_text('{"timestep": 3}', encoding="utf-8")
    assert "Did you mean 'timesteps'?" in message(lambda: TrainerConfig.load("a.json"))


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (OuterCfg(count=0), ["OuterCfg.count is 0", "at least 1"]),
        (OuterCfg(count=11), ["OuterCfg.count is 11", "at most 10"]),
        (OuterCfg(count=True), ["OuterCfg.count is True", "type int, not bool"]),
        (OuterCfg(count=2.0), ["OuterCfg.count is 2.0", "type int, not float"]),
        (OuterCfg(count="2"), ["OuterCfg.count is '2'", "type int, not str"]),
        (OuterCfg(mode="fats"), ["OuterCfg.mode is 'fats'", "['fast', 'slow']", "Did you mean 'fast'?"]),
        (OuterCfg(maybe=("a",)), ["OuterCfg.maybe is ('a',)", "List[str] or None, not tuple"]),
        (OuterCfg(maybe=["a", 1]), ["OuterCfg.maybe is ['a', 1]", "List[str]"]),
        (OuterCfg(sizes=[1]), ["OuterCfg.sizes is [1]", "Tuple[int, ...], not list"]),
        (OuterCfg(pair=(1,)), ["OuterCfg.pair is (1,)", "Tuple[int, str]"]),
        (OuterCfg(function=3), ["OuterCfg.function is 3", "Callable", "None"]),
        (OuterCfg(kind=3), ["OuterCfg.kind is 3", "type or None, not int"]),
        (OuterCfg(inner=InnerCfg(1.0)), ["OuterCfg.inner: InnerCfg.rate is 1.0", "less than 1"]),
        (OuterCfg(inner=InnerCfg(0)), ["OuterCfg.inner: InnerCfg.rate is 0", "greater than 0"]),
        (OuterCfg(inner=InnerCfg(float("nan"))), ["InnerCfg.rate is nan", "a finite number"]),
        (OuterCfg(listed=[InnerCfg(), InnerCfg(2.0)]), ["OuterCfg.listed[1]: InnerCfg.rate is 2.0"]),
        (OuterCfg(named={"y": InnerCfg(2.0)}), ["OuterCfg.named['y']: InnerCfg.rate is 2.0"]),
        (OuterCfg(named={"y": 1}), ["OuterCfg.named is {'y': 1}", "bool", "InnerCfg"]),
        (PPOCfg(learning_rate=float("inf")), ["PPOCfg.learning_rate is inf", "a finite number"]),
        (PPOCfg(mixed_precision="bf61"), ["mixed_precision is 'bf61'", "Did you mean 'bf16'?"]),
        (PPOCfg(mixed_precision=1), ["mixed_precision is 1", "bool or str, not int"]),
        (PPOCfg(rollouts=8, memory_size=7), ["PPOCfg.memory_size is 7", "at least rollouts = 8"]),
        (TrainerConfig(seed=2**32), ["TrainerConfig.seed is 4294967296", "at most 4294967295"]),
    ],
)
def test_wrong_value_is_told_by_field_value_and_expectation(config: Config, words: List[str]) -> None:
    text = message(config.validate)
    for word in words:
        assert word in text
    assert message(lambda: config.take("PPO")) == text


def test_a_failed_take_leaves_the_configuration_free() -> None:
    config = OuterCfg(named={"y": InnerCfg(2.0)})
    message(lambda: config.take("PPO"))
    config.named["y"].rate = 0.5
    config.count = 4
    assert config.take("PPO") is config


def test_taken_configuration_is_frozen_with_all_that_it_holds() -> None:
    config = filled().take("PPO")
    assert config.take("another") is config
    for part in (config.inner, config.listed[1], config.named["y"]):
        with pytest.raises(FrozenConfigError, match="InnerCfg.rate cannot be set to 0.9: PPO has taken"):
            part.rate = 0.9
    with pytest.raises(FrozenConfigError, match="copy"):
        config.count = 5
    with pytest.raises(AttributeError):
        config.count = 5
    with pytest.raises(ConfigError, match="cannot be deleted"):
        del config.count
    assert config == filled()


def test_copy_is_free_and_shares_nothing() -> None:
    config = filled().take("PPO")
    other = config.copy(count=2)
    other.named["y"].rate = 0.9
    other.listed[0].rate = 0.9
    other.inner.rate = 0.9
    other.maybe.append("c")
    other.anything["deep"]["list"].append(4)
    assert other.count == 2 and config == filled()


@pytest.mark.parametrize("freeze", [False, True])
def test_pickle_and_deepcopy(freeze: bool) -> None:
    config = filled()
    if freeze:
        config.take("PPO")
    for twin in (pickle.loads(pickle.dumps(config)), copy.deepcopy(config), copy.copy(config)):
        assert twin == config and twin is not config
        if freeze:
            with pytest.raises(FrozenConfigError):
                twin.count = 1
        else:
            twin.count = 1


@pytest.mark.parametrize("name", ["a.json", "deep/er/a.yaml", "a.yml"])
def test_file_round_trip(name: str) -> None:
    filled().save(name)
    loaded = OuterCfg.load(name)
    assert loaded == filled()
    assert isinstance(loaded.named["y"], InnerCfg) and isinstance(loaded.sizes, tuple)
    loaded.take("PPO")


@settings(deadline=None, max_examples=50)
@given(
    clip=st.none() | st.floats(1e-6, 1e6),
    normalizer=st.booleans() | st.builds(NormalizerCfg, frozen=st.booleans(), clip=st.none() | st.floats(0.1, 10.0)),
    by_key=st.dictionaries(st.text(max_size=5), st.booleans() | st.builds(NormalizerCfg), max_size=3),
    rate=st.floats(0.0, 1.0),
)
def test_dictionary_round_trip_of_ppo(clip: Any, normalizer: Any, by_key: Any, rate: float) -> None:
    config = PPOCfg(
        value_clip=clip, observation_normalizer=normalizer, observation_normalizer_by_key=by_key, learning_rate=rate
    )
    values = config.to_dict()
    before = copy.deepcopy(values)
    assert PPOCfg.from_dict(values) == config and values == before
    config.take("PPO")


def test_numbers_that_people_write_in_yaml() -> None:
    Path("a.yaml").write_text("learning_rate: 3e-4\nratio_clip: 1E-1\nlearning_epochs: 7\n", encoding="utf-8")
    config = PPOCfg.load("a.yaml").take("PPO")
    assert (config.learning_rate, config.ratio_clip, config.learning_epochs) == (3e-4, 0.1, 7)


def helper() -> None:
    raise AssertionError("must never run")


def test_functions_are_recorded_by_name_and_never_imported() -> None:
    config = OuterCfg(function=helper, kind=InnerCfg, anything={"deep": [helper]})
    assert config.to_dict()["function"] == {"callable": helper.__module__ + ".helper"}
    config.save("a.json")
    assert "OuterCfg.function was recorded by name only" in message(lambda: OuterCfg.load("a.json"))
    OuterCfg(anything={"deep": [helper]}).save("b.json")
    assert "OuterCfg.anything['deep'][0] was recorded by name only" in message(lambda: OuterCfg.load("b.json"))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.json", b"{", "is not valid JSON"),
        ("a.yaml", b"a: [", "is not valid YAML"),
        ("a.yaml", b"!!python/object/apply:os.getcwd []", "is not valid YAML"),
        ("a.yaml", b"", "expects a dictionary, got None"),
        ("a.json", b"[1]", "expects a dictionary, got [1]"),
        ("a.json", b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_broken_files(name: str, text: bytes, words: str) -> None:
    Path(name).write_bytes(text)
    assert words in message(lambda: OuterCfg.load(name))


def test_missing_file() -> None:
    assert "'nowhere.json'" in message(lambda: OuterCfg.load("nowhere.json"))


def test_annotations_of_newer_pythons() -> None:
    new_style = eval("int | None") if hasattr(importlib.import_module("types"), "UnionType") else Optional[int]
    assert matches_type(3, new_style) and matches_type(None, new_style) and not matches_type("3", new_style)
