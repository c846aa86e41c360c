"""The protections of the checkpoint file and of loading it, see ``protection_list.py``."""

from typing import List

from benchmarks.reliability.protection import Protection

_A = "AquaML/coordinator/checkpoint_archive.py"
_C = "AquaML/coordinator/state_codec.py"
_F = "AquaML/coordinator/checkpoint_format.py"
_S = "AquaML/stateful.py"
_G = "AquaML/learning/reinforcement/agent_checkpoint.py"
_V = "AquaML/environment/saved_spaces.py"
_FORMAT = "tests/foundations/test_checkpoint_format.py::"
_STATES = "tests/foundations/test_stateful.py::"
_HOSTILE = "tests/reliability/test_hostile.py::"
_WRONG = "tests/reliability/test_wrong_checkpoints.py::"

OF_CHECKPOINTS: List[Protection] = [
    Protection(
        "SHA-256 of each tensor",
        _A,
        'if hashlib.sha256(data.data).hexdigest() != entry["sha256"]:\n            raise',
        "if False:\n            raise",
        _FORMAT + "test_damage_is_located",
    ),
    Protection(
        "SHA-256 of the whole",
        _F,
        "if archive.digest() != tail.digest:",
        "if False:",
        _FORMAT + "test_changed_bytes_are_always_noticed",
    ),
    Protection(
        "both ends agree on the version",
        _F,
        "not in file.read(_HEAD):",
        "not in file.read(_HEAD) and False:",
        _FORMAT + "test_other_versions",
    ),
    Protection(
        "a newer format is refused", _F, "if version != FORMAT_VERSION:", "if False:", _FORMAT + "test_other_versions"
    ),
    Protection(
        "members in their order, uncompressed and under their names",
        _A,
        "if signature != LOCAL_SIGNATURE or not plain or not self._has_name(start, name_length, name):",
        "if False:",
        _FORMAT + "test_the_zip_must_be_as_it_is_written",
    ),
    Protection(
        "the zip's directory lists the same members alone",
        _A,
        "        self._require_directory([metadata] + self._members)\n",
        "",
        _FORMAT + "test_the_zip_must_be_as_it_is_written",
    ),
    Protection(
        "no tensor twice",
        _A,
        "not 0 <= index < len(self._members) or self._taken[index]:",
        "not 0 <= index < len(self._members):",
        _FORMAT + "test_sound_digests_with_wrong_content",
    ),
    Protection(
        "no tensor left over",
        _A,
        "        if not all(self._taken):",
        "        if False:",
        _FORMAT + "test_sound_digests_with_wrong_content",
    ),
    Protection(
        "bounded number of values",
        _A,
        "    if values > MOST_VALUES + len(characters) // 128:",
        "    if False:",
        _HOSTILE + "test_no_hostile_file_does_harm",
    ),
    Protection(
        "bounded nesting, also of what is saved",
        _C,
        "    if depth > DEEPEST_NESTING:",
        "    if False:",
        _FORMAT + "test_a_value_within_itself_is_refused",
    ),
    Protection(
        "sizes of shapes are bounded before they are multiplied",
        _C,
        "if len(shape) > _MOST_DIMENSIONS or not",
        "if not",
        _FORMAT + "test_sound_digests_with_wrong_content",
    ),
    Protection(
        "no key twice",
        _A,
        "    if len(result) != len(pairs):",
        "    if False:",
        _FORMAT + "test_sound_digests_with_wrong_content",
    ),
    Protection(
        "long integers are refused before they are saved",
        _C,
        "    if len(text) > _LONGEST_INTEGER:\n        raise StateError",
        "    if False:\n        raise StateError",
        "tests/foundations/test_saved_values.py::test_unsupported_values_are_refused_by_place",
    ),
    Protection(
        "a pipe or device is not opened",
        _F,
        "    if not stat.S_ISREG(status.st_mode):",
        "    if False:",
        _HOSTILE + "test_pipes_and_devices_are_not_opened",
    ),
    Protection(
        "the algorithm must be the same",
        _G,
        "    if saved.algorithm != agent.algorithm():",
        "    if False:",
        _WRONG + "test_every_algorithm_takes_its_own_files_alone",
    ),
    Protection(
        "the spaces must be the same",
        _G,
        "            lines = [] if layout is None else layout.differences(other)",
        "            lines = []",
        _WRONG + "test_other_architectures_and_spaces",
    ),
    Protection(
        "the order of inputs must be the same",
        _G,
        "        if relevant and former != names:",
        "        if False:",
        _WRONG + "test_inputs_in_another_order_are_refused_in_a_warm_start_too",
    ),
    Protection(
        "everything is compared before anything is loaded",
        _G,
        "        found.require_none(opening, advice)\n",
        "",
        _WRONG + "test_other_architectures_and_spaces",
    ),
    Protection(
        "a load that fails midway is put back",
        _S,
        "        lost = _put_back(before[:begun])",
        "        lost = []",
        _WRONG + "test_a_fault_in_the_last_part_changes_nothing",
    ),
    Protection(
        "one part that cannot be put back keeps no other from it",
        _S,
        "        except Exception as error:\n            lost.append(",
        "        except ZeroDivisionError as error:\n            lost.append(",
        _WRONG + "test_a_part_that_cannot_be_put_back_is_named_and_the_others_are",
    ),
    Protection(
        "a failed load leaves the spaces unknown",
        "AquaML/learning/reinforcement/base.py",
        "            if not was_bound:\n                self._unbind_spaces()\n",
        "",
        _WRONG + "test_an_agent_that_knows_no_spaces_yet_stays_so",
    ),
    Protection(
        "a run's metadata are compared",
        "AquaML/coordinator/coordinator.py",
        "            if compare is not None:",
        "            if False:",
        _WRONG + "test_a_run_takes_its_own_checkpoints_alone",
    ),
    Protection(
        "a run's parts are compared",
        "AquaML/coordinator/coordinator.py",
        "            found.require_none(opening, advice)\n",
        "",
        _WRONG + "test_a_run_takes_its_own_checkpoints_alone",
    ),
    Protection(
        "a moment has its parameter's type",
        _S,
        "elif moment.dtype != parameter.dtype and",
        "elif False and",
        _WRONG + "test_other_architectures_and_spaces",
    ),
    Protection(
        "numbers and moments of an optimiser are of one kind",
        _S,
        '        lines = lines or _mixed_moments(state["state"], by_index)\n',
        "",
        _STATES + "test_moments_that_are_numbers_here_and_tensors_there_are_refused",
    ),
    Protection(
        "spaces of a file are of a size that fits the file",
        _V,
        "0 < entries <= most:",
        "0 < entries:",
        _HOSTILE + "test_a_space_of_a_file_is_no_larger_than_the_file",
    ),
    Protection(
        "configuration files make no objects",
        "AquaML/config.py",
        "class Loader(yaml.SafeLoader):",
        "class Loader(yaml.UnsafeLoader):",
        _HOSTILE + "test_configurations_are_data",
    ),
]
