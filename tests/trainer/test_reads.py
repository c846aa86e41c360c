"""What the host reads back from tensors: nothing in acting and learning, one stacked read in a log."""

from collections import Counter
from typing import Any

import pytest
from pieces import make_trainer

dispatch = pytest.importorskip("torch.utils._python_dispatch")


class Reads(dispatch.TorchDispatchMode):
    """Counts operations that hand a tensor's content to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        if name in ("_local_scalar_dense", "nonzero", "is_nonzero", "equal", "masked_select"):
            self.found[name] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1"])
def test_acting_and_learning_read_nothing_back(env_id: str, shared: bool) -> None:
    trainer = make_trainer(env_id, shared=shared, timesteps=1000)
    trainer.begin()
    agent = trainer.agent
    learn, act = agent.learn, agent.act
    reads = Reads()
    calls: Counter = Counter()

    def watched(function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            calls[function.__name__] += 1
            with reads:
                return function(*arguments)

        return call

    for _ in range(17):
        trainer.step()
    agent.learn, agent.act = watched(learn), watched(act)
    for _ in range(32):
        trainer.step()
    assert calls == {"learn": 2, "act": 32}
    assert reads.found == {}
    trainer.tracker.close()


def test_an_early_stop_reads_once_per_pass() -> None:
    trainer = make_trainer(timesteps=1000, agent={"kl_threshold": 1e9, "learning_epochs": 3})
    trainer.begin()
    for _ in range(16):
        trainer.step()
    agent, reads = trainer.agent, Reads()
    learn = agent.learn

    def watched(*arguments: Any) -> None:
        with reads:
            learn(*arguments)

    agent.learn = watched
    for _ in range(16):
        trainer.step()
    assert reads.found == {"_local_scalar_dense": 3}
    trainer.tracker.close()


def test_a_log_stacks_all_figures_before_it_reads() -> None:
    trainer = make_trainer("CartPole-v1", timesteps=1000)
    trainer.begin()
    for _ in range(40):
        trainer.step()
    stacked = []

    class Stacks(dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function.overloadpacket.__name__ == "stack":
                stacked.append(len(args[0]))
            assert function.overloadpacket.__name__ != "_local_scalar_dense"
            return function(*args, **(kwargs or {}))

    with Stacks():
        trainer.log()
    assert max(stacked) >= 15
    trainer.tracker.close()
