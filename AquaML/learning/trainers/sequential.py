"""The loop: act, step, record, learn."""

import copy
import time
from pathlib import Path
from typing import Any, Dict, Optional, Union

import torch
from loguru import logger

from AquaML.coordinator.checkpoint_store import CheckpointStore
from AquaML.coordinator.random_state import derived_seed
from AquaML.coordinator.run_folder import RunFolder
from AquaML.environment.base import StepResult, TensorDict
from AquaML.environment.rows import begun_rows, true_successors
from AquaML.errors import ConfigError, NonFiniteError
from AquaML.learning.finite_guard import ROLLBACK, of_step, require_finite
from AquaML.learning.trainers.base import Trainer
from AquaML.learning.trainers.evaluation import EpisodeSummary, Renderer, evaluate
from AquaML.learning.trainers.phase_timer import PhaseTimer
from AquaML.tracking.console import ProgressBar
from AquaML.tracking.figures import read_figures
from AquaML.tracking.learning_curve import draw_learning_curve
from AquaML.tracking.system_monitor import SystemMonitor

_LARGEST_EVALUATION = 16
_LOG_WITHOUT_METRICS = 1000
_FIGURES = ("trainer/loop", "trainer/statistics", "trainer/hook/", "sinks/")
"""Parts of a run that a row of figures changes."""
_JUDGED = ("training", "finished")
"""States in which a window's score counts; one that was cut is completed when the run goes on, and counts then."""
_EVALUATION_SEED = 1_000_000
"""Distance of the evaluation's seed from the training's."""


class SequentialTrainer(Trainer):
    """Trains an agent by a resumable loop with one :meth:`step`.

    Override single pieces: :meth:`begin`, :meth:`step`, :meth:`after_step`, :meth:`log`, :meth:`evaluate_agent`,
    :meth:`should_stop` and :meth:`end`.
    """

    # ------------------------------------------------------------------ training

    def train(self, resume: Union[bool, str, Path, None] = None) -> None:
        """Train for ``timesteps`` vector steps, or on from where the run stands.

        Ctrl-C, SIGTERM and SIGHUP finish the step under way, save, and end the program with the conventional exit code
        (128 and the signal's number); a second one ends it at once. SIGUSR1, where it exists, saves and goes on. In a
        training within a training, they end the inner one without ``SystemExit``, and the outer one after it.

        Args:
            resume: As :attr:`TrainerConfig.resume`, which None leaves to decide; a path takes this trainer back to
                that run even when it has one already.

        Raises:
            AquaMLError: Something is wrong before the first step, or the last checkpoint cannot be written.
            SystemExit: A signal ended the training; the last checkpoint is written.
        """
        self._resume = self.cfg.resume if resume is None else resume
        self._goes_back = isinstance(resume, (str, Path))
        signals = self._signals
        try:
            with signals:
                self.begin()
                self._run()
        finally:
            if self._claimed is not None:
                self._claimed.release()
                self._claimed = None
        logger.info("{}", self._closing_line())
        # A signal during the very last save has ended nothing, and must not be forgotten.
        if signals.ending is not None and not signals.nested:
            raise SystemExit(signals.exit_code)

    def _run(self) -> None:
        self.state = "training"
        bar = ProgressBar(self.cfg.timesteps, self.timestep, self.cfg.disable_progressbar)
        try:
            for hook in self.hooks:
                hook.on_train_start(self)
            if self.timestep == 0:
                # A disk that cannot take a checkpoint shows now, not hours later.
                self._save(CheckpointStore.save_last, must=True)
            while not self.should_stop():
                self.step()
                self.after_step()
                bar.advance(1)
                if self._has_new_figures:
                    self._has_new_figures = False
                    bar.show(self._bar_figures())
            self.end()
        except BaseException:
            self.state = "failed"
            raise
        finally:
            bar.close()
            self.tracker.close()

    def begin(self) -> None:
        """Set up agent and environment, take up or begin the run, and write the run folder."""
        self._stop_reason = None
        agent, env = self.agent, self.env
        env.to(agent.device)
        agent.setup(env.getEnvInfo())
        agent.prepare_training()
        agent.set_mode(training=True)
        self._make_evaluation_environment()
        self._register_components()
        folder = None if self._goes_back else self._folder
        if folder is None:
            resumed = self._find_resumed()
            if resumed is not None:
                folder, checkpoint = resumed
                self.coordinator.restore(checkpoint)
                self._continues = self._evaluated = False
                logger.info("Resuming '{}' at vector step {}.", folder.path, self.timestep)
            else:
                folder = self._new_folder()
                if self.cfg.seed is not None:
                    self.coordinator.seed(self.cfg.seed)
        self._place_environment()
        self._open_run(folder)
        self._checked_until = self.timestep + agent.finite_guard.CHECKED_STEPS
        self._recovered_at = self.timestep
        self._renderer = Renderer(self.cfg.headless)
        self._monitor = SystemMonitor(agent.device) if self.cfg.system_monitor else None
        self._timer = PhaseTimer()
        self._started = time.monotonic()
        self._logged_at = (self._started, self.statistics.environment_steps)

    def _new_folder(self) -> RunFolder:
        name = self.cfg.run_name or RunFolder.default_name(self.agent.algorithm(), self.env.name)
        return RunFolder(self.cfg.run_directory, name, self.coordinator.operations)

    def _place_environment(self) -> None:
        """Leave the environment where it stands, or reset it if that place is lost."""
        if self._states is not None and (self._continues or self.env.restored_exactly):
            return
        seed = self.cfg.seed
        if self.timestep > 0:
            if self._evaluated:
                seed = None
                logger.info("The evaluation ended the running episodes; training goes on with new ones.")
            else:
                logger.warning(
                    "The running episodes could not be taken up; every environment starts a new one, so the resumed "
                    "run is an approximation of the uninterrupted one."
                )
                # Neither the episodes of the run's begin once more, nor others each time that it is resumed.
                seed = None if seed is None else derived_seed(seed, self.timestep)
            self.agent.on_interruption()
            self.statistics.forget_running()
        self._evaluated = False
        self._begin_episodes(seed)

    def _begin_episodes(self, seed: Optional[int]) -> None:
        states, _ = self.env.reset(seed=seed)
        require_finite(of_step("observation", states))
        self._states = {name: value.clone() for name, value in states.items()}
        self.agent.on_reset(torch.ones((self.env.num_envs, 1), dtype=torch.bool, device=self.agent.device))

    _continues = False
    _goes_back = False
    _has_new_figures = False
    _evaluated = False

    def step(self) -> None:
        """Make one vector step and let the agent learn from it; the run can be saved and resumed after it.

        Raises:
            NonFiniteError: NaN or infinity appeared, and ``AgentCfg.non_finite`` or their number ends training.
        """
        try:
            self._advance()
        except NonFiniteError as error:
            self._recover(error)
        self.timestep += 1

    def _advance(self) -> None:
        agent, timestep, timesteps = self.agent, self.timestep, self.cfg.timesteps
        states = self._states
        assert states is not None
        agent.finite_guard.checks_everything = everything = timestep < self._checked_until
        timer = self._timer
        timer.enter("inference")
        actions = agent.name_actions(agent.act(states, timestep, timesteps))
        if everything:
            require_finite(of_step("action", actions))
        timer.enter("environment")
        self._renderer.show(self.env)
        observations, rewards, terminated, truncated, infos = self._step_environment(actions)
        timer.enter("update")
        done = terminated | truncated
        if everything:
            _require_finite_step(observations, rewards, done, infos)
        successors = true_successors(observations, done, infos["final_obs"])
        agent.record_transition(states, actions, rewards, successors, terminated, truncated, infos, timestep, timesteps)
        self.statistics.update(rewards, done, infos["valid"], infos["log"])
        for hook in self.hooks:
            hook.on_transition(self, rewards, terminated, truncated, infos)
        agent.on_reset(begun_rows(done, infos["valid"], self.env.autoreset))
        self._states = observations
        agent.post_interaction(timestep, timesteps)
        timer.enter(None)

    def _step_environment(self, actions: TensorDict) -> StepResult:
        try:
            return self.env.step(actions)
        except NonFiniteError:
            # An environment that was fed with NaN is not the one to blame.
            require_finite(of_step("action", actions))
            raise

    def _recover(self, error: NonFiniteError) -> None:
        """Go on after numbers that are not finite as ``AgentCfg.non_finite`` says, with new episodes.

        Raises:
            NonFiniteError: Going on is not wanted, or was in vain too often.
        """
        agent, guard = self.agent, self.agent.finite_guard
        self._timer.enter(None)
        error.timestep = self.timestep - error.steps_ago
        if self.timestep - self._recovered_at > guard.CALM_STEPS:
            guard.finished_update()
        self._recovered_at = self.timestep
        guard.allow(error)
        if guard.policy == ROLLBACK:
            agent.load(self._require_store().latest())
        agent.on_interruption()
        self.statistics.forget_running()
        try:
            self._begin_episodes(None)
        except NonFiniteError as again:
            self._recover(again)

    def after_step(self) -> None:
        """Call hooks, log, evaluate and save where it is time."""
        cfg = self.cfg
        for hook in self.hooks:
            hook.on_step(self)
        if self._log_is_due():
            self.log()
        if cfg.evaluation_interval and self.timestep % cfg.evaluation_interval == 0:
            self.evaluate_agent()
        if cfg.checkpoint_interval and self.timestep % cfg.checkpoint_interval == 0:
            self.save_periodic()
        if self._signals.take_save_request():
            logger.info("A checkpoint was asked for at vector step {}.", self.timestep)
            self.save_last()

    def should_stop(self) -> bool:
        """Return whether training is over."""
        if self._signals.ending is not None:
            self._stop_reason = "interrupted by " + self._signals.ending_name
        elif self.cfg.stop_seconds is not None and time.monotonic() - self._started >= self.cfg.stop_seconds:
            self._stop_reason = "stop_seconds reached"
        return self._stop_reason is not None or self.timestep >= self.cfg.timesteps

    def end(self) -> None:
        """Write the last row, checkpoint and learning curve."""
        if self._stop_reason is None:
            self.state = "finished"
        else:
            self.state = "stopped" if self._signals.ending is None else "interrupted"
        self._continues = True
        if self._logged_timestep != self.timestep:
            self._log_incomplete_window()
        self._save(CheckpointStore.save_last, must=True)
        if self._monitor is not None:
            self._monitor.close()
        if self.cfg.learning_curve and self.run_folder is not None:
            title = "{} on {}".format(self.agent.algorithm(), self.env.name)
            draw_learning_curve(self.run_folder, title)
        for hook in self.hooks:
            hook.on_train_end(self)

    # ------------------------------------------------------------------ figures

    def _log_incomplete_window(self) -> None:
        """Write a row for people, of which the run's state knows nothing: going on completes the window instead."""
        kept = [part for part in self.coordinator.parts() if part.name.startswith(_FIGURES)]
        before = [copy.deepcopy(part.stateful.state_dict()) for part in kept]
        self.log()
        best = (self.best_return, self.best_timestep)
        for part, state in zip(kept, before):
            part.stateful.load_state_dict(state)
        self.best_return, self.best_timestep = best

    def _log_is_due(self) -> bool:
        interval = self.cfg.log_interval or self.agent.log_interval
        if interval is not None:
            return self.timestep % interval == 0
        return self.agent.has_metrics or self.timestep % _LOG_WITHOUT_METRICS == 0

    def log(self) -> None:
        """Collect figures since the last row and hand them to the sinks."""
        self._logged_timestep = self.timestep
        numbers, metrics = read_figures(self.statistics.pending(), self.agent.pending_metrics())
        figures = self.statistics.settle(numbers)
        best_window = figures.pop("best_window", None)
        row = {"timestep": float(self.timestep), **figures, **metrics, **self._speed(figures)}
        row.update(self.agent.finite_guard.take_figures())
        if self._monitor is not None:
            row.update(self._monitor.sample())
        self.write_row(row)
        if best_window is not None and not self.cfg.evaluation_interval and self.state in _JUDGED:
            self._judge(best_window)

    def write_row(self, row: Dict[str, float]) -> None:
        """Hand a row of figures to hooks and sinks."""
        for hook in self.hooks:
            hook.on_log(self, row)
        self._latest.update(row)
        self._has_new_figures = True
        self.tracker.write(int(row["environment_steps"]), row)

    def _speed(self, figures: Dict[str, float]) -> Dict[str, float]:
        now = time.monotonic()
        then, steps = self._logged_at
        self._logged_at = (now, int(figures["environment_steps"]))
        speed = (figures["environment_steps"] - steps) / max(now - then, 1e-9)
        phases = {"time/" + name: seconds for name, seconds in self._timer.read().items()}
        return dict(phases, **{"time/steps_per_second": speed, "time/total": now - self._started})

    def _judge(self, score: float) -> None:
        self.consider_best(score)
        if self.cfg.stop_return is not None and score >= self.cfg.stop_return:
            self.stop("stop_return reached: {:.2f}".format(score))

    def _bar_figures(self) -> Dict[str, str]:
        shown = {}
        for name, label in (("episode/return_mean", "return"), ("evaluation/return_mean", "evaluation")):
            if name in self._latest:
                shown[label] = "{:.1f}".format(self._latest[name])
        if "time/steps_per_second" in self._latest:
            shown["steps/s"] = "{:.0f}".format(self._latest["time/steps_per_second"])
        return shown

    def _closing_line(self) -> str:
        line = "Training {} after {} environment steps".format(self.state, self.statistics.environment_steps)
        if self._stop_reason is not None:
            line += " ({})".format(self._stop_reason)
        if self.best_return is not None:
            line += ", best return {:.2f}".format(self.best_return)
        return "{}. Everything is in '{}'.".format(line, self.run_folder)

    # ------------------------------------------------------------------ evaluation

    def eval(self, episodes: Optional[int] = None) -> EpisodeSummary:
        """Let the agent play on the trainer's environment, without learning or writing anything.

        Args:
            episodes: Number of episodes, rounded up to the same number in each environment; None: ``timesteps``
                vector steps are played and the episodes that end within them count.

        Returns:
            Returns and lengths of the episodes.

        Raises:
            ConfigError: ``episodes`` is less than 1.
        """
        if episodes is not None and (isinstance(episodes, bool) or not isinstance(episodes, int) or episodes < 1):
            raise ConfigError("eval(episodes={!r}): expected an integer of at least 1.".format(episodes))
        agent, env, before = self.agent, self.env, self.state
        self.state = "evaluating"
        try:
            if agent.num_envs is None:
                agent.setup(env.getEnvInfo())
            else:
                agent.bind_spaces(env.observation_layout, env.action_layout, env.action_bounds)
            # The training's running episodes end here; the next train() begins new ones.
            self._states, self._continues, self._evaluated = None, False, True
            summary = evaluate(
                env,
                agent,
                episodes=episodes,
                timesteps=self.cfg.timesteps if episodes is None else None,
                deterministic=not self.cfg.stochastic_evaluation,
                seed=self.cfg.seed,
                renderer=Renderer(self.cfg.headless),
            )
        finally:
            self.state = before
        if not summary.episodes:
            logger.warning(
                "No episode ended within {} vector steps; raise TrainerConfig.timesteps or call eval(episodes=...).",
                self.cfg.timesteps,
            )
        logger.info("Evaluation on '{}': {}.", env.name, summary)
        return summary

    def evaluate_agent(self) -> EpisodeSummary:
        """Evaluate during training, on environments of their own and with the same seed each time."""
        assert self.evaluation_env is not None
        summary = evaluate(
            self.evaluation_env,
            self.agent,
            episodes=self.cfg.evaluation_episodes,
            deterministic=not self.cfg.stochastic_evaluation,
            seed=(self.cfg.seed or 0) + _EVALUATION_SEED,
        )
        steps = float(self.statistics.environment_steps)
        self.write_row(dict(summary.figures(), timestep=float(self.timestep), environment_steps=steps))
        for hook in self.hooks:
            hook.on_evaluation(self, summary)
        self._judge(summary.return_mean)
        return summary

    def _make_evaluation_environment(self) -> None:
        if self.cfg.evaluation_interval and self.evaluation_env is None:
            self.evaluation_env = self.env.spawn(min(self.cfg.evaluation_episodes, _LARGEST_EVALUATION))


def _require_finite_step(
    observations: TensorDict, rewards: torch.Tensor, done: torch.Tensor, infos: Dict[str, Any]
) -> None:
    """Check what an environment returned; rows that hold nothing have no say."""
    final = of_step("final observation", infos["final_obs"] or {}, done)
    reward = of_step("reward", {"rewards": rewards}, infos["valid"])
    require_finite(final + of_step("observation", observations) + reward)
