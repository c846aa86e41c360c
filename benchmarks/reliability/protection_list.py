"""The protections of AquaML, each with the change that takes it away and the test that then fails."""

from typing import List

from benchmarks.reliability.protection import Protection
from benchmarks.reliability.protections_of_checkpoints import OF_CHECKPOINTS
from benchmarks.reliability.protections_of_resumes import OF_RESUMES
from benchmarks.reliability.protections_of_simulators import OF_SIMULATORS

_F = "AquaML/coordinator/file_operations.py"
_S = "AquaML/coordinator/checkpoint_store.py"
_L = "AquaML/coordinator/run_lock.py"
_R = "AquaML/coordinator/run_folder.py"
_T = "AquaML/learning/trainers/base.py"
_POWER = "tests/reliability/test_crash_points.py::test_every_state_after_a_power_loss_is_recovered_from"
_CRASH = "tests/reliability/test_crash_points.py::test_every_crash_is_recovered_from"
_STORE = "tests/foundations/test_checkpoint_store.py::"
_FILES = "tests/foundations/test_file_operations.py::"
_SAVING = "tests/trainer/test_saving.py::"
_STARTS = "tests/reliability/test_directories.py::test_starts_names_and_places"

PROTECTIONS: List[Protection] = [
    Protection("content reaches the disk before its name", _F, "            operations.sync(file)\n", "", _POWER),
    Protection("the new name reaches the disk", _F, "    operations.sync_folder(target.parent)\n", "", _POWER),
    Protection(
        "the folders above a checkpoint reach the disk",
        _F,
        "        operations.sync_folder(place.parent)\n",
        "",
        _POWER,
    ),
    Protection(
        "a failed save leaves no temporary file",
        _F,
        "        remove_leftover(temporary, operations)\n        raise\n",
        "        raise\n",
        _FILES + "test_a_failure_leaves_the_old_file_and_nothing_else",
    ),
    Protection(
        "a write that takes a part is gone on with",
        _F,
        "            rest = rest[self.write_piece(file, rest) :]\n",
        "            self.write_piece(file, rest)\n            break\n",
        _FILES + "test_a_write_that_takes_one_byte_at_a_time_is_gone_on_with",
    ),
    Protection(
        "only own temporary files are swept",
        _F,
        "            if _TEMPORARY.match(name):\n",
        "            if name.endswith(TEMPORARY_SUFFIX):\n",
        _FILES + "test_only_own_temporary_files_are_swept",
    ),
    Protection(
        "leftovers of killed processes are swept",
        _S,
        "        sweep_leftovers(self.folder, self._operations)\n",
        "        return\n",
        _CRASH,
    ),
    Protection(
        "the newest intact checkpoint is taken, not the newest",
        _S,
        "            if path not in damaged and (path in unplaced or is_intact(path)):\n                return path\n",
        "            return path\n",
        _STORE + "test_damaged_ones_are_passed_over_with_a_warning_until_none_is_left",
    ),
    Protection(
        "the order of writing decides which is newest",
        _S,
        "is not None, _sequence_of(item[0]), str(item[1])))",
        "is not None, str(item[1])))",
        _STORE + "test_the_order_of_writing_decides_and_neither_clock_nor_step",
    ),
    Protection(
        "an old checkpoint goes only after the new one was read back",
        _S,
        "        if surplus and is_intact(path):\n",
        "        if surplus:\n",
        _STORE + "test_an_old_one_goes_only_after_the_new_one_was_read_back",
    ),
    Protection(
        "a link out of the run's folder is no checkpoint",
        _S,
        "stat.S_ISREG(os.lstat(str(path)).st_mode)",
        "stat.S_ISREG(os.stat(str(path)).st_mode)",
        _STORE + "test_links_are_no_checkpoints",
    ),
    Protection(
        "one run in a folder at a time",
        _L,
        "        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "        fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)\n",
        _STARTS,
    ),
    Protection(
        "a forked child does not hold its killed parent's lock",
        _L,
        "    os.register_at_fork(after_in_child=_leave_to_the_parent)\n",
        "    pass\n",
        _STARTS,
    ),
    Protection(
        "a run's name stays in the folder of runs",
        _R,
        """    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[:_LONGEST_NAME].strip(".-") or "run"\n""",
        """    name = text or "run"\n""",
        _STARTS,
    ),
    Protection(
        "two new runs never share a folder",
        _R,
        "make_folders(candidate, self._operations, exist_ok=False)",
        "make_folders(candidate, self._operations)",
        "tests/foundations/test_run_folder.py::test_runs_of_one_name_made_at_once_are_all_different",
    ),
    Protection(
        "a place where no folder can be is told",
        _R,
        "            except (OSError, ValueError) as error:\n"
        '                raise TrainerError(\n                    "Cannot make',
        '            except OSError as error:\n                raise TrainerError(\n                    "Cannot make',
        _STARTS,
    ),
    Protection(
        "the configuration is written whole or not at all",
        _R,
        "            replace_text(path / CONFIGURATION_FILE, json_text(configuration), self._operations)\n",
        '            (path / CONFIGURATION_FILE).write_text(json_text(configuration), encoding="utf-8")\n',
        _SAVING + "test_configuration_and_versions_are_whole_or_absent",
    ),
    Protection(
        "a failed save does not end training",
        _T,
        '            if must or self.cfg.on_save_error == "raise":\n                raise\n',
        "            raise\n",
        "tests/reliability/test_disk_faults.py::test_faults_of_saves_cost_nothing_else",
    ),
    Protection(
        "the first and the last checkpoint must be written",
        _T,
        '            if must or self.cfg.on_save_error == "raise":\n',
        '            if self.cfg.on_save_error == "raise":\n',
        _SAVING + "test_the_last_checkpoint_must_be_written",
    ),
    Protection(
        "weights that are not finite replace no checkpoint",
        _T,
        "            if broken:\n",
        "            if False:\n",
        _SAVING + "test_weights_that_are_not_finite_replace_nothing",
    ),
    Protection(
        "a best that could not be saved is no best",
        _T,
        "                self.best_return, self.best_timestep = before\n",
        "                return\n",
        _SAVING + "test_a_best_that_could_not_be_saved_is_no_best",
    ),
    Protection(
        "a run without an intact checkpoint is passed over",
        _T,
        "            except CheckpointNotFoundError as error:\n                logger",
        "            except ZeroDivisionError as error:\n                logger",
        _SAVING + "test_runs_without_an_intact_checkpoint_are_passed_over_with_a_warning",
    ),
    Protection(
        "a disk that takes no checkpoint shows before the first step",
        "AquaML/learning/trainers/sequential.py",
        "            if self.timestep == 0:\n",
        "            if False:\n",
        _SAVING + "test_the_first_checkpoint_is_written_before_the_first_step",
    ),
    Protection(
        "rows behind those of the checkpoint are dropped",
        "AquaML/tracking/csv_sink.py",
        "islice(csv.DictReader(file), most)",
        "csv.DictReader(file)",
        _SAVING + "test_rows_behind_those_of_the_checkpoint_may_be_torn",
    ),
    Protection(
        "rows that a checkpoint counts are on the disk",
        "AquaML/tracking/csv_sink.py",
        "                    self._operations.sync(file)\n",
        "                    pass\n",
        _SAVING + "test_rows_that_a_checkpoint_counts_are_on_the_disk",
    ),
    Protection(
        "a rollout is checked before it changes anything",
        "AquaML/learning/reinforcement/on_policy/base.py",
        "        require_finite(self._collected(rollout, values, returns), self.cfg.rollouts)\n",
        "",
        "tests/reliability/test_injections.py::test_a_step_with_nan_leaves_no_trace[reward-True]",
    ),
    Protection(
        "the first steps are each checked whole",
        "AquaML/learning/trainers/sequential.py",
        "everything = timestep < self._checked_until",
        "everything = False",
        "tests/reinforcement/test_finite_guard.py::test_a_run_that_is_taken_up_is_checked_whole_again",
    ),
    Protection(
        "final observations are checked with their rollout",
        "AquaML/learning/reinforcement/on_policy/base.py",
        "                numbers.append(Numbers(site, name, values_, stored, final.steps))\n",
        "                del stored, values_, site\n",
        "tests/reliability/test_injections.py::test_a_step_with_nan_leaves_no_trace[final observation-True]",
    ),
    Protection(
        "the last successor of a rollout is checked",
        "AquaML/learning/reinforcement/on_policy/base.py",
        '            numbers.append(Numbers("observation", name, self._last_states[name].unsqueeze(0), '
        "last, first=end))\n",
        "",
        "tests/reinforcement/test_finite_guard.py::test_the_last_successor_of_a_rollout_is_looked_at_with_it",
    ),
    Protection(
        "log-probabilities are checked",
        "AquaML/learning/reinforcement/on_policy/base.py",
        '            Numbers("log-probability", "log_prob", rollout["log_prob"], valid),\n',
        "",
        "tests/reliability/test_injections.py::test_a_step_with_nan_leaves_no_trace[log-probability-True]",
    ),
    Protection(
        "rows that are no transition have no say",
        "AquaML/learning/finite_guard.py",
        "    return torch.where(mask, numbers.values, torch.zeros_like(numbers.values))",
        "    return numbers.values",
        "tests/reinforcement/test_finite_guard.py::test_rows_without_a_say_hold_what_they_like",
    ),
    Protection(
        "numbers whose square overflows count as infinite",
        "AquaML/learning/finite_guard.py",
        "    wrong = ~(values.abs() <= LARGEST)",
        "    wrong = ~torch.isfinite(values)",
        "tests/reliability/test_injections.py::test_numbers_whose_square_overflows_count_as_infinite[reward]",
    ),
    Protection(
        "a first observation is checked in every wrapper",
        "AquaML/learning/trainers/sequential.py",
        '        require_finite(of_step("observation", states))\n',
        "",
        "tests/reinforcement/test_finite_guard.py::test_a_first_reset_with_nan_is_an_error_before_anything_begins",
    ),
    Protection(
        "wrappers check what a step returns",
        "AquaML/environment/backend_wrapper.py",
        "        self._require_finite_results(out, gives_final)\n",
        "",
        "tests/environment/test_gymnasium_wrapper.py::test_environments_that_break_their_word",
    ),
    Protection(
        "an environment fed with NaN is not blamed",
        "AquaML/learning/trainers/sequential.py",
        "            # An environment that was fed with NaN is not the one to blame.\n"
        '            require_finite(of_step("action", actions))\n',
        "",
        "tests/reinforcement/test_finite_guard.py::test_an_environment_that_was_fed_with_nan_is_not_blamed",
    ),
    Protection(
        "a loss that is not finite takes no step",
        "AquaML/learning/finite_guard.py",
        "        self._judge(loss.detach() + gradient_norm)",
        "        self._judge(gradient_norm)",
        "tests/reliability/test_injections.py::test_a_step_of_the_optimiser_is_left_out[skip-case0]",
    ),
    Protection(
        "a gradient that is not finite takes no step",
        "AquaML/learning/finite_guard.py",
        "        self._judge(loss.detach() + gradient_norm)",
        "        self._judge(loss.detach())",
        "tests/reliability/test_injections.py::test_a_step_of_the_optimiser_is_left_out[skip-case2]",
    ),
    Protection(
        "the fused optimiser leaves moments as they are",
        "AquaML/learning/finite_guard.py",
        "            self._optimizer.found_inf = self.flag  # type: ignore[attr-defined]\n",
        "            pass\n",
        "tests/reliability/test_injections.py::test_a_step_of_the_optimiser_is_left_out[skip-case1]",
    ),
    Protection(
        "an optimiser that is not fused takes no faulty step",
        "AquaML/learning/finite_guard.py",
        "        elif bool(self.flag):",
        "        elif False:",
        "tests/reinforcement/test_finite_guard.py::test_a_faulty_step_changes_no_bit",
    ),
    Protection(
        "no step follows a faulty one in an update that fails",
        "AquaML/learning/finite_guard.py",
        "            torch.logical_or(self.flag, doubt, out=self.flag)",
        "            torch.ne(doubt, 0.0, out=self.flag)",
        "tests/reliability/test_injections.py::test_a_step_of_the_optimiser_is_left_out[raise-case0]",
    ),
    Protection(
        "faults of losses and gradients are read after an update",
        "AquaML/learning/reinforcement/on_policy/base.py",
        "                self.check_learning()\n",
        "                pass\n",
        "tests/reliability/test_injections.py::test_a_step_of_the_optimiser_is_left_out[raise-case1]",
    ),
    Protection(
        "a failed update takes back the value statistics",
        "AquaML/learning/reinforcement/on_policy/base.py",
        "                self._undo_update(before)\n",
        "",
        "tests/reinforcement/test_finite_guard.py::test_a_faulty_update_takes_back_the_value_statistics_and_figures",
    ),
    Protection(
        "figures leave out minibatches that were skipped",
        "AquaML/learning/reinforcement/on_policy/actor_critic.py",
        "        if not self._skips:\n            return values.mean()\n",
        "        return values.mean()\n",
        "tests/reinforcement/test_finite_guard.py::test_figures_of_an_update_leave_out_what_was_skipped",
    ),
    Protection(
        "an update without a step is a failure",
        "AquaML/learning/reinforcement/on_policy/actor_critic.py",
        "        if not self._skips or left_out == steps:",
        "        if not self._skips:",
        "tests/reinforcement/test_finite_guard.py::test_an_update_of_which_no_step_is_left_is_a_failure",
    ),
    Protection(
        "the loss scaler is shown faulty losses",
        "AquaML/learning/finite_guard.py",
        "        return self._scaler.scale(loss * torch.where(self.flag.bool(), self._nan, self._one))",
        "        return self._scaler.scale(loss)",
        "tests/reinforcement/test_finite_guard.py::test_the_loss_scaler_skips_by_itself[True]",
    ),
    Protection(
        "rollback restores the newest checkpoint",
        "AquaML/learning/trainers/sequential.py",
        "            agent.load(self._require_store().latest())\n",
        "            pass\n",
        "tests/reliability/test_injections.py::test_a_step_of_the_optimiser_is_left_out[rollback-case1]",
    ),
    Protection(
        "a faulty rollout is dropped",
        "AquaML/learning/reinforcement/on_policy/base.py",
        "            self.memory.drop()\n            if",
        "            if",
        "tests/reinforcement/test_finite_guard.py::test_recoveries_are_counted_and_new_episodes_begin[skip]",
    ),
    Protection(
        "new episodes begin after a recovery",
        "AquaML/learning/trainers/sequential.py",
        "            self._begin_episodes(None)\n",
        "            pass\n",
        "tests/reinforcement/test_finite_guard.py::test_recoveries_are_counted_and_new_episodes_begin[skip]",
    ),
    Protection(
        "recoveries in vain have an end",
        "AquaML/learning/finite_guard.py",
        "        if self.in_a_row > self.MOST_RECOVERIES:",
        "        if self.in_a_row > 10**9:",
        "tests/reinforcement/test_finite_guard.py::test_ten_recoveries_without_an_update_are_the_end",
    ),
    Protection(
        "updates that went well are noticed",
        "AquaML/learning/reinforcement/on_policy/base.py",
        "        self.finite_guard.finished_update()\n",
        "",
        "tests/reinforcement/test_finite_guard.py::test_updates_between_them_let_recoveries_go_on",
    ),
]

PROTECTIONS += OF_CHECKPOINTS + OF_RESUMES + OF_SIMULATORS
