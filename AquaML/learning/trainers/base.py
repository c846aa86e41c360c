"""What all trainers share: components, run folder, checkpoints, figures and status."""

import abc
import importlib.util
import json
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import torch
from loguru import logger

from AquaML.coordinator.checkpoint_format import Checkpoint
from AquaML.coordinator.checkpoint_store import CheckpointStore
from AquaML.coordinator.coordinator import Coordinator, default_coordinator
from AquaML.coordinator.run_folder import CHECKPOINT_FOLDER, CONFIGURATION_FILE, RunFolder
from AquaML.environment.base import EnvironmentWrapper
from AquaML.errors import AquaMLError, CheckpointNotFoundError, CheckpointWriteError, NonFiniteError, TrainerError
from AquaML.learning.finite_weights import not_finite_weights
from AquaML.learning.reinforcement.base import RUN_KIND, Agent
from AquaML.learning.trainers.episode_statistics import EpisodeStatistics
from AquaML.learning.trainers.hooks import Hook
from AquaML.learning.trainers.signals import SignalWatch
from AquaML.learning.trainers.trainer_cfg import TrainerConfig
from AquaML.stateful import RUN, Part, has_state, require_keys, unregistered_states
from AquaML.tracking.csv_sink import CsvSink
from AquaML.tracking.sink import Sink
from AquaML.tracking.tensorboard_sink import TensorBoardSink
from AquaML.tracking.tracker import Tracker
from AquaML.tracking.wandb_sink import WandbSink

__all__ = ["Trainer", "TrainerConfig"]


class Trainer(abc.ABC):
    """Brings an environment, an agent and a coordinator together.

    Args:
        env: The wrapped environment.
        agent: The agent.
        cfg: The configuration; None: defaults.
        coordinator: Where the run lives; None: the default one.
        hooks: The user's own code.
        evaluation_env: Where evaluations during training play; None: made like ``env`` when needed.
        sinks: Further sinks for figures.

    Raises:
        TrainerError: An argument is of the wrong type.
        ConfigError: A field of the configuration is wrong.
        DeviceError: The coordinator and the agent name different devices.
    """

    def __init__(
        self,
        env: EnvironmentWrapper,
        agent: Agent,
        cfg: Optional[TrainerConfig] = None,
        coordinator: Optional[Coordinator] = None,
        hooks: Sequence[Hook] = (),
        evaluation_env: Optional[EnvironmentWrapper] = None,
        sinks: Sequence[Sink] = (),
    ) -> None:
        _require_type(env, EnvironmentWrapper, "env", "wrap it, for example GymnasiumWrapper(env)")
        _require_type(agent, Agent, "agent", "subclass AquaML.learning.reinforcement.base.Agent")
        if cfg is not None:
            _require_type(cfg, TrainerConfig, "cfg", "use TrainerConfig(...)")
        for hook in hooks:
            _require_type(hook, Hook, "hooks", "subclass AquaML.learning.trainers.hooks.Hook")
        if evaluation_env is not None:
            _require_type(evaluation_env, EnvironmentWrapper, "evaluation_env", "wrap it")
        self.cfg = (cfg or TrainerConfig()).take(type(self).__name__)
        self.env = env
        self.agent = agent
        self.coordinator = coordinator or default_coordinator()
        self.coordinator.require_device(agent.device, type(agent).__name__)
        self.hooks = list(hooks)
        self.evaluation_env = evaluation_env
        self.tracker = Tracker(self._choose_sinks() + list(sinks))
        self.statistics = EpisodeStatistics(env.num_envs, agent.device)
        self.timestep = 0
        self.best_return: Optional[float] = None
        self.best_timestep: Optional[int] = None
        self.state = "new"
        self._states: Optional[Dict[str, torch.Tensor]] = None
        self._stop_reason: Optional[str] = None
        self._logged_timestep = 0
        self._latest: Dict[str, float] = {}
        self._signals = SignalWatch()

    unsaved = ("evaluation_env",)
    """Attributes whose state belongs in no checkpoint; the evaluation environment is seeded anew each time."""

    @abc.abstractmethod
    def train(self) -> None:
        """Train the agent."""

    # ------------------------------------------------------------------ status

    def stop(self, reason: str) -> None:
        """End training after the present step.

        Args:
            reason: Why, for the log and :meth:`get_status`.
        """
        self._stop_reason = reason

    def get_status(self) -> Dict[str, Any]:
        """Return where the run stands.

        Returns:
            ``"state"`` (``"new"``, ``"training"``, ``"evaluating"``, ``"finished"``, ``"stopped"``,
            ``"interrupted"`` or ``"failed"``), ``"stop_reason"``, ``"timestep"``, ``"timesteps"``,
            ``"environment_steps"``, ``"num_envs"``, ``"device"``, ``"run_folder"``, ``"best_return"``,
            ``"best_timestep"`` and ``"figures"`` (the newest value of every logged figure).
        """
        folder = self.run_folder
        return {
            "state": self.state,
            "stop_reason": self._stop_reason,
            "timestep": self.timestep,
            "timesteps": self.cfg.timesteps,
            "environment_steps": self.statistics.environment_steps,
            "num_envs": self.env.num_envs,
            "device": str(self.agent.device),
            "run_folder": None if folder is None else str(folder),
            "best_return": self.best_return,
            "best_timestep": self.best_timestep,
            "figures": dict(self._latest),
        }

    @property
    def run_folder(self) -> Optional[Path]:
        """The run's folder, once training has begun."""
        return self._folder.path if self._folder is not None else None

    _resume: Union[bool, str, Path] = False
    _folder: Optional[RunFolder] = None
    _claimed: Optional[RunFolder] = None
    _store: Optional[CheckpointStore] = None

    # ------------------------------------------------------------------ parts and checkpoints

    @property
    def parts(self) -> List[Part]:
        """The loop's own state, the statistics, and hooks that have a state."""
        parts = [Part("loop", RUN, self), Part("statistics", RUN, self.statistics)]
        for index, hook in enumerate(self.hooks):
            if has_state(hook):
                parts.append(Part("hook/{}/{}".format(index, type(hook).__name__), RUN, hook))
        return parts

    def state_dict(self) -> Dict[str, Any]:
        """Return counters, the best return, the present observations, and figures that are not in the log yet."""
        states = self._states
        return {
            "timestep": self.timestep,
            "logged_timestep": self._logged_timestep,
            "metrics": self.agent.metric_sums(),
            "best_return": self.best_return,
            "best_timestep": self.best_timestep,
            "states": None if states is None else {name: value.clone() for name, value in states.items()},
        }

    def validate_state(self, state: Dict[str, Any]) -> None:
        """Check that all entries are there."""
        require_keys(state, self.state_dict(), "trainer")

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.timestep, self._logged_timestep = state["timestep"], state["logged_timestep"]
        self.agent.set_metric_sums(state["metrics"])
        self.best_return, self.best_timestep = state["best_return"], state["best_timestep"]
        states = state["states"]
        self._states = None if states is None else {name: v.to(self.agent.device).clone() for name, v in states.items()}

    def _register_components(self) -> None:
        self.coordinator.components.clear()
        self.coordinator.register("environment", self.env)
        self.coordinator.register("agent", self.agent)
        self.coordinator.register("trainer", self)
        self.coordinator.register("sinks", self.tracker)
        found = unregistered_states(self, self.coordinator.parts())
        missing = [name for name in found if name not in self.unsaved]
        if missing:
            raise TrainerError(
                "{0}.{1} has a state but is in no checkpoint; add Part('{1}', 'run', self.{1}) to {0}.parts.".format(
                    type(self).__name__, missing[0]
                )
            )

    def checkpoint(self) -> Checkpoint:
        """Collect the whole run: what an exact resume needs."""
        metadata = {
            "kind": RUN_KIND,
            "agent": self.agent.metadata(),
            "trainer": {"class": type(self).__name__, "config": self.cfg.to_dict()},
            "counters": {"timestep": self.timestep, "environment_steps": self.statistics.environment_steps},
            "best": {"return": self.best_return, "timestep": self.best_timestep},
        }
        return self.coordinator.checkpoint(metadata)

    def save_periodic(self) -> None:
        """Write a periodic checkpoint."""
        self._save(lambda store, checkpoint: store.save_periodic(self.timestep, checkpoint))

    def save_last(self) -> None:
        """Write the last checkpoint."""
        self._save(CheckpointStore.save_last)

    def consider_best(self, score: float) -> None:
        """Save the agent as the best one if the score is finite and higher than any before."""
        if score - score == 0.0 and (self.best_return is None or score > self.best_return):
            before = (self.best_return, self.best_timestep)
            self.best_return, self.best_timestep = score, self.timestep
            if not self._save(CheckpointStore.save_best):
                # What could not be saved is no best to be measured by.
                self.best_return, self.best_timestep = before

    def _save(self, write: Callable[[CheckpointStore, Checkpoint], Path], must: bool = False) -> bool:
        """Write a checkpoint and return whether there is one to go on from.

        Raises:
            CheckpointWriteError: The file system did not take it, and ``must`` or ``on_save_error`` makes that an
                error.
            NonFiniteError: The weights hold NaN or infinity, likewise.
        """
        store, checkpoint, broken = self._require_store(), self.checkpoint(), not_finite_weights(self.agent)
        try:
            if broken:
                raise self._not_finite(store.save_not_finite(checkpoint), broken)
            path = write(store, checkpoint)
        except (CheckpointWriteError, NonFiniteError) as error:
            if must or self.cfg.on_save_error == "raise":
                raise
            logger.warning("{} Training goes on; the checkpoints that are there stay whole.", error)
            return False
        self._announce(path)
        return True

    def _not_finite(self, path: Path, places: List[str]) -> AquaMLError:
        more = " and {} more".format(len(places) - 1) if len(places) > 1 else ""
        return NonFiniteError(
            "At vector step {} the weights hold NaN or infinity ({}{}), so that nobody should go on from them. They "
            "are in '{}', for a look; find what wrote them there, and go on from an earlier checkpoint.".format(
                self.timestep, places[0], more, path
            )
        )

    def _announce(self, path: Path) -> None:
        for hook in self.hooks:
            hook.on_checkpoint(self, path)

    def _require_store(self) -> CheckpointStore:
        if self._store is None:
            raise TrainerError("There is no run folder yet; training makes it.")
        return self._store

    # ------------------------------------------------------------------ run folder and resume

    def configuration(self) -> Dict[str, Any]:
        """Return what is written as the run's configuration."""
        info = self.env.getEnvInfo()
        environment = {name: info[name] for name in ("name", "num_envs", "autoreset", "max_episode_length")}
        if "vectorization" in info:
            environment["vectorization"] = info["vectorization"]
        return {
            "environment": environment,
            "agent": self.agent.metadata(),
            "trainer": {"class": type(self).__name__, "config": self.cfg.to_dict()},
        }

    def _claim(self, folder: RunFolder) -> None:
        """Keep other runs out of the folder until training ends."""
        folder.claim()
        self._claimed = folder

    def _open_run(self, folder: RunFolder) -> None:
        new = folder.path is None
        self._claim(folder)
        self._folder = folder
        path = self.coordinator.open_folder(folder, self.cfg.keep_checkpoints)
        self._store = self.coordinator.store
        if new:
            folder.describe(self.configuration())
        self.tracker.open(path, self.configuration())

    def _find_resumed(self) -> Optional[Tuple[RunFolder, Path]]:
        """Return the run to go on with, locked, and its checkpoint to go on from; None to begin anew.

        Raises:
            RunFolderInUseError: The run is still going on.
            CheckpointError: The run that was named has no intact checkpoint.
            TrainerError: What was named is no run.
        """
        resume = self._resume
        if isinstance(resume, (str, Path)):
            path = _named(resume)
            if path.is_dir():
                # A folder that is no run gets no lock either.
                if not (path / CHECKPOINT_FOLDER).is_dir():
                    raise CheckpointNotFoundError(
                        "resume is '{0}', which is no run folder: there is no folder '{1}' in it. Name the run itself, "
                        "or give resume=True for the newest run in run_directory.".format(resume, CHECKPOINT_FOLDER)
                    )
                CheckpointStore(path / CHECKPOINT_FOLDER, 1).require_any()
                return self._take_up(path)
            if not path.is_file():
                raise CheckpointNotFoundError("resume is '{}', which does not exist.".format(resume))
            if path.resolve().parent.name != CHECKPOINT_FOLDER:
                raise TrainerError(
                    "resume is '{}', which lies in no run folder; use agent.load() to take over weights.".format(resume)
                )
            folder = RunFolder.existing(path.resolve().parent.parent, self.coordinator.operations)
            self._claim(folder)
            return folder, path
        if not isinstance(resume, bool):
            raise TrainerError("resume is {!r}; expected True, False, or the path of a run.".format(resume))
        if not resume:
            return None
        for place in self._earlier_runs():
            try:
                return self._take_up(place)
            except CheckpointNotFoundError as error:
                logger.warning("The earlier run '{}' is passed over: {}", place, error)
        logger.warning(
            "There is no earlier run of {} on '{}' to resume; a new one begins.", self.agent.algorithm(), self.env.name
        )
        return None

    def _take_up(self, place: Path) -> Tuple[RunFolder, Path]:
        """Lock a run's folder and find its newest intact checkpoint, in this order: a live run goes on writing."""
        folder = RunFolder.existing(place, self.coordinator.operations)
        self._claim(folder)
        try:
            return folder, CheckpointStore(place / CHECKPOINT_FOLDER, 1).latest()
        except CheckpointNotFoundError:
            folder.release()
            self._claimed = None
            raise

    def _earlier_runs(self) -> List[Path]:
        """Return the folders of earlier runs of this agent and environment, newest first."""
        root = Path(self.cfg.run_directory)
        found = []
        for folder in root.iterdir() if root.is_dir() else ():
            file = folder / CONFIGURATION_FILE
            if not file.is_file():
                continue
            try:
                written = json.loads(file.read_text(encoding="utf-8"))
                same = (
                    written["agent"]["algorithm"] == self.agent.algorithm()
                    and written["environment"]["name"] == self.env.name
                )
            except (OSError, RecursionError, ValueError, KeyError, TypeError) as error:
                logger.warning("'{}' tells of no run and is passed over: {}: {}", file, type(error).__name__, error)
                continue
            if same:
                found.append((file.stat().st_mtime_ns, folder))
        return [folder for _, folder in sorted(found, reverse=True)]

    def _choose_sinks(self) -> List[Sink]:
        sinks: List[Sink] = [CsvSink()]
        if self.cfg.tensorboard and importlib.util.find_spec("tensorboard") is not None:
            sinks.append(TensorBoardSink())
        if self.cfg.wandb:
            sinks.append(WandbSink(self.cfg.wandb_project))
        return sinks


def _named(resume: Union[str, Path]) -> Path:
    """Return the path of a run's folder or checkpoint that was named, for the folder of its checkpoints stands for it.

    Raises:
        TrainerError: The name is empty.
    """
    if str(resume) == "":
        raise TrainerError("resume is empty; expected True, False, or the path of a run.")
    path = Path(resume)
    return path.parent if path.is_dir() and path.resolve().name == CHECKPOINT_FOLDER else path


def _require_type(value: Any, wanted: type, name: str, advice: str) -> None:
    if not isinstance(value, wanted):
        article = "an" if wanted.__name__[0] in "AEIOU" else "a"
        raise TrainerError(
            "{} is a {}; expected {} {}: {}.".format(name, type(value).__name__, article, wanted.__name__, advice)
        )
