"""What the host reads back from tensors: nothing in acting and learning, one stacked read in a log."""

from collections import Counter
from typing import Any, List

import pytest
import torch
from pieces import make_trainer

from AquaML.compat import adam_arguments, skips_by_flag

READS = ("_local_scalar_dense", "nonzero", "equal", "masked_select")
# Kernels of the CPU that read by themselves. Without the fused implementation Adam reads its own step counters, which
# lie on the host on every device.
READ_BY_THEMSELVES = ("var", "std", "_fused_adam_" if adam_arguments(torch.device("cpu")) else "Optimizer.step")


class Operations:
    """Records the operations of torch that run inside, in order; the profiler sees them in every version."""

    def __enter__(self) -> "Operations":
        self._profiler = torch.autograd.profiler.profile()
        self._profiler.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._profiler.__exit__(*error)

    @property
    def names(self) -> List[str]:
        events = self._profiler.function_events
        return [event.name.replace("aten::", "") for event in events if not self._inside_a_kernel(event)]

    def _inside_a_kernel(self, event: Any) -> bool:
        while event is not None:
            if event.name.replace("aten::", "").startswith(READ_BY_THEMSELVES):
                return True
            event = event.cpu_parent
        return False

    @property
    def reads(self) -> Counter:
        """How often each operation ran that hands a tensor's content to the host."""
        return Counter(name for name in self.names if name in READS)


def test_reads_are_seen() -> None:
    with Operations() as operations:
        torch.ones(2)[torch.ones(2) > 0].sum().item()
    assert operations.reads == {"nonzero": 1, "_local_scalar_dense": 1}


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("env_id", ["Pendulum-v1", "CartPole-v1"])
def test_acting_and_learning_read_nothing_back(env_id: str, shared: bool) -> None:
    trainer = make_trainer(env_id, shared=shared, timesteps=1000)
    trainer.begin()
    agent = trainer.agent
    learn, act = agent.learn, agent.act
    reads: Counter = Counter()
    calls: Counter = Counter()

    def watched(function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            calls[function.__name__] += 1
            with Operations() as operations:
                result = function(*arguments)
            reads.update(operations.reads)
            return result

        return call

    for _ in range(17):
        trainer.step()
    agent.learn, agent.act = watched(learn), watched(act)
    for _ in range(32):
        trainer.step()
    assert calls == {"learn": 2, "act": 32}
    # The guard against NaN asks the host only where the optimiser does not take its flag: for each minibatch.
    assert reads == ({} if skips_by_flag(agent.optimizer) else {"_local_scalar_dense": 2 * 2 * 2})
    trainer.tracker.close()


def test_an_early_stop_reads_once_per_pass() -> None:
    trainer = make_trainer(timesteps=1000, agent={"kl_threshold": 1e9, "learning_epochs": 3})
    trainer.begin()
    for _ in range(16):
        trainer.step()
    agent, reads = trainer.agent, Counter()
    learn = agent.learn

    def watched(*arguments: Any) -> None:
        with Operations() as operations:
            learn(*arguments)
        reads.update(operations.reads)

    agent.learn = watched
    for _ in range(16):
        trainer.step()
    # One for each of three passes, and for each minibatch where the optimiser does not take the guard's flag.
    assert reads == {"_local_scalar_dense": 3 if skips_by_flag(agent.optimizer) else 3 + 3 * 2}
    trainer.tracker.close()


def test_a_log_stacks_all_figures_before_it_reads() -> None:
    trainer = make_trainer("CartPole-v1", timesteps=1000)
    trainer.begin()
    for _ in range(40):
        trainer.step()
    with Operations() as operations:
        trainer.log()
    assert operations.reads == {}
    names = operations.names
    first = names.index("stack")
    # Stacking begins with one unsqueeze per tensor.
    assert names[first : names.index("cat", first)].count("unsqueeze") >= 15
    trainer.tracker.close()
