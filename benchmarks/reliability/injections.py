"""NaN, infinity and overflow at every place of a run: caught, named, and without a trace."""

import dataclasses
import math
import random
import tempfile
from pathlib import Path
from typing import List, NamedTuple

from AquaML.errors import NonFiniteError
from AquaML.tracking.csv_sink import FILE_NAME, read_rows
from benchmarks.reliability.spoiled_runs import (
    MINI_BATCHES,
    PARAMETER,
    PASSES,
    ROLLOUTS,
    STEP_SITES,
    TIMESTEPS,
    Spoil,
    SpoiledPPO,
    WatchedTrainer,
    everything_is_finite,
    make_run,
)

SITES = STEP_SITES + ("loss/policy", "loss/value", "loss/extra", "loss/entropy", "gradient")
VALUES = (math.nan, math.inf, -math.inf, 1e38)
POLICIES = ("raise", "skip", "rollback")


class Case(NamedTuple):
    """One injection.

    Attributes:
        site: Where.
        value: What.
        policy: ``AgentCfg.non_finite``.
        late: False: while every step is checked by itself; True: afterwards.
        number: Draws environment, step and minibatch.
    """

    site: str
    value: float
    policy: str
    late: bool
    number: int

    def spoil(self) -> Spoil:
        """Return the injection; steps are such that a time limit ends an episode in that environment then."""
        environment = self.number % 3
        if self.site in STEP_SITES:
            step = (29 if self.late else 9) - environment
        else:
            step = (4 if self.late else 2) * ROLLOUTS - 1
        return Spoil(self.site, self.value, environment, step, self.number % (PASSES * MINI_BATCHES))


class Verdict(NamedTuple):
    """What became of a case.

    Attributes:
        caught: The guard noticed it.
        named: Its message says where: site, environment and vector step, or loss or parameter and minibatch.
        unchanged: Parameters, moments and normalisers hold nothing of it.
        went_on: Training ended as the policy wants: with the error, or finished with finite numbers and a figure in
            the log.
    """

    caught: bool
    named: bool
    unchanged: bool
    went_on: bool


@dataclasses.dataclass
class InjectionFigures:
    """How many injections there were, and of how many each holds.

    Attributes:
        injections: Sites times values times policies.
        caught: See :class:`Verdict`.
        named: See :class:`Verdict`.
        unchanged: See :class:`Verdict`.
        went_on: See :class:`Verdict`.
        controls: NaN at every site, without the guard.
        controls_poisoned: After how many of those weights, moments or normalisers were not finite.
        failed: The cases of which not everything holds.
    """

    injections: int
    caught: int
    named: int
    unchanged: int
    went_on: int
    controls: int
    controls_poisoned: int
    failed: List[str]


def cases(count: int, seed: int) -> List[Case]:
    """Return ``count`` of all combinations, drawn by the seed; early and late ones in turn."""
    found = [(site, value, policy) for policy in POLICIES for value in VALUES for site in SITES]
    random.Random(seed).shuffle(found)
    return [
        Case(site, value, policy, index % 2 == 1, index + seed)
        for index, (site, value, policy) in enumerate(found[:count])
    ]


def run(count: int, seed: int) -> InjectionFigures:
    """Inject ``count`` times, and once per site without the guard."""
    chosen = cases(count, seed)
    verdicts = [judge(case) for case in chosen]
    controls = [poisons(Case(site, math.nan, "raise", True, number)) for number, site in enumerate(SITES)]
    return InjectionFigures(
        injections=len(chosen),
        caught=sum(verdict.caught for verdict in verdicts),
        named=sum(verdict.named for verdict in verdicts),
        unchanged=sum(verdict.unchanged for verdict in verdicts),
        went_on=sum(verdict.went_on for verdict in verdicts),
        controls=len(controls),
        controls_poisoned=sum(controls),
        failed=[
            "{}: {}".format(case, [name for name, holds in verdict._asdict().items() if not holds])
            for case, verdict in zip(chosen, verdicts)
            if not all(verdict)
        ],
    )


def judge(case: Case) -> Verdict:
    """Run a case."""
    spoil = case.spoil()
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_run(spoil, case.policy, Path(folder), case.number)
        agent = trainer.agent
        assert isinstance(agent, SpoiledPPO)
        raised = False
        try:
            trainer.train()
        except NonFiniteError:
            raised = True
        errors = agent.finite_guard.errors  # type: ignore[attr-defined]
        return Verdict(
            caught=spoil.done and len(errors) == 1,
            named=len(errors) == 1 and _names(errors[0], case, spoil),
            unchanged=_is_unchanged(case, trainer, agent),
            went_on=_went_on(case, trainer, raised),
        )


def poisons(case: Case) -> bool:
    """Return whether a case spoils parameters, moments or normalisers where nothing is checked."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_run(case.spoil(), case.policy, Path(folder), case.number, guarded=False)
        trainer.begin()
        for _ in range(TIMESTEPS):
            trainer.step()
        trainer.tracker.close()
        assert isinstance(trainer.agent, SpoiledPPO)
        return not everything_is_finite(trainer.agent)


def _names(error: NonFiniteError, case: Case, spoil: Spoil) -> bool:
    if case.site in STEP_SITES:
        # A target holds what is rewarded later, so it may show earlier in the same environment.
        in_time = error.timestep == spoil.step
        if case.site == "value target":
            in_time = error.timestep is not None and error.timestep <= spoil.step
        told = "environment {} ".format(spoil.environment) in str(error)
        return error.site == case.site and error.environments == (spoil.environment,) and in_time and told
    pass_, minibatch = divmod(spoil.minibatch, MINI_BATCHES)
    place = "in minibatch {} of pass {}".format(minibatch, pass_) in str(error)
    if case.site == "gradient":
        return place and error.site == "gradient" and error.key == PARAMETER
    # A factor of 1e38 leaves many a loss finite; its gradient is not.
    if not math.isfinite(case.value):
        return place and error.site == "loss" and "loss/" + error.key == case.site
    return place and error.site in ("loss", "gradient")


def _is_unchanged(case: Case, trainer: WatchedTrainer, agent: SpoiledPPO) -> bool:
    if case.policy == "rollback":
        return trainer.equals_checkpoint
    if case.policy == "skip" and case.site not in STEP_SITES:
        return agent.networks_before == agent.networks_after_step
    before = (agent.networks_before, agent.normalizers_before)
    if case.policy == "raise":
        return before == (agent.networks(), agent.normalizer_states())
    return before == (trainer.networks_recovered, trainer.normalizers_recovered)


def _went_on(case: Case, trainer: WatchedTrainer, raised: bool) -> bool:
    if case.policy == "raise":
        return raised and trainer.state == "failed"
    finished = trainer.state == "finished" and trainer.timestep == TIMESTEPS and not raised
    assert trainer.run_folder is not None and isinstance(trainer.agent, SpoiledPPO)
    rows = read_rows(trainer.run_folder / FILE_NAME)
    counted = any(name.startswith("guard/") and value for row in rows for name, value in row.items())
    return finished and counted and everything_is_finite(trainer.agent)
