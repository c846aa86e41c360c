"""Episode figures equal hand counts."""

import torch

from AquaML.learning.trainers.episode_statistics import EpisodeStatistics

CPU = torch.device("cpu")


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values).reshape(-1, 1)


def test_staggered_ends_simultaneous_ends_and_a_missing_scalar() -> None:
    statistics = EpisodeStatistics(3, CPU)
    nan = float("nan")
    # Row by row: rewards, done, a scalar that is absent at times.
    script = [
        ((1.0, 10.0, 100.0), (False, False, False), (1.0, nan, 5.0)),
        ((2.0, 20.0, 200.0), (True, False, False), (3.0, nan, 6.0)),
        ((3.0, 30.0, 300.0), (True, True, False), (nan, nan, 7.0)),
        ((4.0, 40.0, 400.0), (False, False, False), (nan, nan, 8.0)),
    ]
    for rewards, done, scalar in script:
        statistics.update(column(*rewards), column(*done).bool(), None, {"term": column(*scalar)})
    figures = statistics.read()
    # Environment 0: returns 3 (length 2) and 3 (length 1); environment 1: return 60 (length 3).
    assert figures["episode/count"] == 3
    assert figures["episode/return_mean"] == 22.0
    assert (figures["episode/return_min"], figures["episode/return_max"]) == (3.0, 60.0)
    assert figures["episode/length_mean"] == 2.0
    # Only the first episode of environment 0 has the scalar: (1 + 3) / 2.
    assert figures["info/term"] == 2.0
    assert figures["environment_steps"] == 12.0
    assert "best_window" not in figures  # environment 2 has not finished an episode

    statistics.update(column(0.0, 0.0, 0.0), column(0, 0, 1).bool(), None, {})
    figures = statistics.read()
    assert figures["episode/return_mean"] == 1000.0 and figures["episode/length_mean"] == 5.0
    assert figures["info/term"] == 6.5
    # All episodes since the beginning: 3, 3, 60, 1000.
    assert figures["best_window"] == 266.5
    assert set(statistics.read()) == {"environment_steps"}


def test_rows_that_only_reset_count_nowhere() -> None:
    statistics = EpisodeStatistics(2, CPU)
    garbage = float("inf")
    statistics.update(column(1.0, 1.0), column(1, 0).bool(), column(1, 1).bool(), {})
    statistics.update(column(garbage, 1.0), column(0, 1).bool(), column(0, 1).bool(), {"x": column(garbage, 2.0)})
    statistics.update(column(5.0, garbage), column(1, 0).bool(), column(1, 0).bool(), {})
    figures = statistics.read()
    assert figures["episode/return_mean"] == (1.0 + 2.0 + 5.0) / 3
    assert figures["episode/length_mean"] == (1 + 2 + 1) / 3
    assert figures["info/x"] == 2.0
    assert figures["environment_steps"] == 4 and statistics.environment_steps == 4


def test_a_row_between_two_states_is_restored() -> None:
    first = EpisodeStatistics(1, CPU)
    first.update(column(2.0), column(0).bool(), None, {"x": column(1.0)})
    second = EpisodeStatistics(1, CPU)
    second.validate_state(first.state_dict())
    second.load_state_dict(first.state_dict())
    second.update(column(3.0), column(1).bool(), None, {"x": column(2.0)})
    figures = second.read()
    assert figures["episode/return_mean"] == 5.0 and figures["info/x"] == 1.5 and figures["environment_steps"] == 2


def test_forget_running_drops_only_what_has_not_ended() -> None:
    statistics = EpisodeStatistics(1, CPU)
    statistics.update(column(1.0), column(1).bool(), None, {})
    statistics.update(column(100.0), column(0).bool(), None, {})
    statistics.forget_running()
    statistics.update(column(2.0), column(1).bool(), None, {})
    assert statistics.read()["episode/return_mean"] == 1.5


def test_tracked_figures_are_means_that_later_changes_do_not_reach() -> None:
    from test_loop import Recorder

    agent = Recorder()
    value = torch.tensor([[3.0]])
    agent.track("loss/x", value)
    value.fill_(100.0)
    agent.track("loss/x", 5)
    agent.track("loss/y", torch.tensor(2, dtype=torch.int64))
    assert agent.has_metrics
    assert agent.collect_metrics() == {"loss/x": 4.0, "loss/y": 2.0}
    assert not agent.has_metrics and agent.collect_metrics() == {}
