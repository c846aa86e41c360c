"""Protections of resumes and of what signals do."""

from typing import List

from benchmarks.reliability.protection import Protection

_SIGNALS = "AquaML/learning/trainers/signals.py"
_LOOP = "AquaML/learning/trainers/sequential.py"
_BASE = "AquaML/learning/trainers/base.py"
_WORKER = "AquaML/environment/vectorization/shard_worker.py"
_SHARDED = "AquaML/environment/vectorization/sharded.py"
_SYNC = "AquaML/environment/vectorization/sync.py"
_INTERRUPT = "tests/trainer/test_interrupt.py::"
_RESUME = "tests/trainer/test_resume.py::"

OF_RESUMES: List[Protection] = [
    Protection(
        "a forked child obeys signals",
        _SIGNALS,
        "            self._as_before(number, frame)\n        elif",
        "            pass\n        elif",
        _INTERRUPT + "test_a_forked_child_ends_by_the_signal_as_if_nobody_watched",
    ),
    Protection(
        "signals that come together are one",
        _SIGNALS,
        "        elif time.monotonic() - self._since > _SAME_REQUEST:\n",
        "        else:\n",
        _INTERRUPT + "test_signals_that_come_together_are_one",
    ),
    Protection(
        "a second signal ends at once",
        _SIGNALS,
        "            _end_at_once(number)\n",
        "            return\n",
        _INTERRUPT + "test_the_second_signal_ends_at_once",
    ),
    Protection(
        "ignored signals stay ignored",
        _SIGNALS,
        "        if before is not signal.SIG_IGN and before is not None:\n",
        "        if before is not None:\n",
        _INTERRUPT + "test_a_signal_that_is_ignored_stays_ignored",
    ),
    Protection(
        "handlers are put back",
        _SIGNALS,
        "            if _watch_behind(signal.getsignal(number)) is self:\n",
        "            if False:\n",
        _INTERRUPT + "test_the_handlers_are_put_back_after_training_and_after_an_error",
    ),
    Protection(
        "handlers of others are left",
        _SIGNALS,
        "            if _watch_behind(signal.getsignal(number)) is self:\n",
        "            if True:\n",
        _INTERRUPT + "test_a_handler_that_somebody_installs_meanwhile_is_theirs",
    ),
    Protection(
        "a signal within a training within a training ends both",
        _SIGNALS,
        "            outer._note(number)\n",
        "            return\n",
        _INTERRUPT + "test_a_training_within_a_training_ends_both",
    ),
    Protection(
        "the program's own SIGUSR1 handler is called",
        _SIGNALS,
        "        if callable(before):\n            # The program's",
        "        if False:\n            # The program's",
        _INTERRUPT + "test_a_user_signal_saves_and_training_goes_on",
    ),
    Protection(
        "the note needs no lock of the logger",
        _SIGNALS,
        '        os.write(sys.stderr.fileno(), text.encode("ascii"))\n',
        "        from loguru import logger\n\n        logger.warning(text)\n",
        _INTERRUPT + "test_a_signal_that_comes_while_the_log_is_written_is_noted",
    ),
    Protection(
        "the note needs no console",
        _SIGNALS,
        "    with contextlib.suppress(OSError, ValueError, AttributeError):\n",
        "    with contextlib.suppress():\n",
        _INTERRUPT + "test_a_signal_needs_no_console",
    ),
    Protection(
        "signals are watched from the begin",
        _LOOP,
        "            with signals:\n                self.begin()\n                self._run()\n",
        "            self.begin()\n            with signals:\n                self._run()\n",
        _INTERRUPT + "test_a_signal_before_the_first_step_leaves_a_run_to_resume",
    ),
    Protection(
        "a signal in the last save is not forgotten",
        _LOOP,
        "        if signals.ending is not None and not signals.nested:\n",
        '        if self.state == "interrupted" and not signals.nested:\n',
        _INTERRUPT + "test_a_signal_after_the_last_step_is_not_forgotten",
    ),
    Protection(
        "SIGUSR1 saves",
        _LOOP,
        "        if self._signals.take_save_request():\n",
        "        if False:\n",
        _INTERRUPT + "test_a_user_signal_saves_and_training_goes_on",
    ),
    Protection(
        "workers leave signals to the parent",
        _WORKER,
        '_FOR_THE_PARENT = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGBREAK")\n',
        '_FOR_THE_PARENT = ("SIGINT",)\n',
        "tests/environment/test_sharded.py::test_signals_to_all_processes_leave_the_workers_to_this_one",
    ),
    Protection(
        "workers end with a process that does not close them",
        _SHARDED,
        "            multiprocessing.util.Finalize(self, _kill, (list(self._workers),), exitpriority=10)\n",
        "            pass\n",
        "tests/environment/test_sharded.py::test_workers_do_not_outlive_this_process",
    ),
    Protection(
        "a resume does not depend on the number of workers",
        _SHARDED,
        "        shares = [cut_replay(state, worker.share.first, worker.share.last) for worker in self._workers]\n",
        "        shares = [cut_replay(state, 0, worker.share.last - worker.share.first) for worker in self._workers]\n",
        "tests/environment/test_sharded.py::test_equal_to_stepping_in_turn_and_resumed_exactly",
    ),
    Protection(
        "a replay is compared with what was seen",
        _SYNC,
        '            np.array_equal(out.observations[name], saved) for name, saved in state["observations"].items()\n',
        '            True for name, saved in state["observations"].items()\n',
        "tests/environment/test_replay.py::test_what_cannot_be_replayed_is_told",
    ),
    Protection(
        "a replay is compared with the generators",
        _SYNC,
        '            exact = exact and _same(_generator_state(self.environments[index]), state["generators"][index])\n',
        "",
        "tests/environment/test_replay.py::test_generators_must_stand_where_they_stood",
    ),
    Protection(
        "an approximate resume is told",
        _LOOP,
        "        if self._states is not None and (self._continues or self.env.restored_exactly):\n",
        "        if self._states is not None:\n",
        _RESUME + "test_a_foreign_vector_environment_resumes_approximately_and_says_so",
    ),
    Protection(
        "a run without a step begins as it would have",
        _LOOP,
        "        if self._states is not None and (self._continues or",
        "        if self._states is not None and (not self.timestep or self._continues or",
        _RESUME + "test_a_foreign_vector_environment_that_has_made_no_step_begins_as_it_would_have_begun",
    ),
    Protection(
        "an approximate resume repeats itself",
        _LOOP,
        "                seed = None if seed is None else derived_seed(seed, self.timestep)\n",
        "                seed = None\n",
        _RESUME + "test_a_foreign_vector_environment_resumes_approximately_and_says_so",
    ),
    Protection(
        "a window of figures is completed after a cut",
        _LOOP,
        "            part.stateful.load_state_dict(state)\n",
        "            pass\n",
        _RESUME + "test_resume_in_the_middle_of_a_rollout_equals_no_interruption",
    ),
    Protection(
        "figures that are not logged yet survive",
        _BASE,
        '        self.agent.set_metric_sums(state["metrics"])\n',
        "",
        _RESUME + "test_resume_in_the_middle_of_a_rollout_equals_no_interruption",
    ),
    Protection(
        "no row is written twice",
        _BASE,
        '        self.timestep, self._logged_timestep = state["timestep"], state["logged_timestep"]\n',
        '        self.timestep = state["timestep"]\n',
        _RESUME + "test_a_run_that_was_finished_is_prolonged_as_if_it_had_been_longer",
    ),
    Protection(
        "a window that was cut is no best one",
        _LOOP,
        '_JUDGED = ("training", "finished")\n',
        '_JUDGED = ("training", "finished", "stopped", "interrupted")\n',
        _RESUME + "test_a_window_that_was_cut_is_no_best_one_but_the_last_window_of_a_finished_run_may_be",
    ),
    Protection(
        "torch's random stream goes on",
        "AquaML/coordinator/random_state.py",
        '        torch.set_rng_state(state["torch"].cpu())\n',
        "",
        _RESUME + "test_resume_at_an_update_boundary_equals_no_interruption",
    ),
    Protection(
        "TensorBoard forgets what came after the checkpoint",
        "AquaML/tracking/tensorboard_sink.py",
        "step=self._step + 1, session_log",
        "step=step, session_log",
        _RESUME + "test_tensorboard_shows_every_row_once",
    ),
    Protection(
        "a wrong resume is an error",
        _BASE,
        "        if not isinstance(resume, bool):\n",
        "        if False:\n",
        _RESUME + "test_a_wrong_resume_is_an_error_before_anything_is_made",
    ),
]
