"""Exploration by actions that are random now and then (epsilon-greedy)."""

import torch

from AquaML.learning.reinforcement.exploration_cfg import ExplorationCfg


def exploration_chance(cfg: ExplorationCfg, timestep: int, timesteps: int) -> float:
    """Return the chance of a random action at a vector step.

    Args:
        cfg: First and last chance, and over which share of the training it changes.
        timestep: Index of the vector step.
        timesteps: Vector steps of the whole run.
    """
    passed = min(1.0, timestep / max(1.0, cfg.exploration_share * timesteps))
    return cfg.exploration + (cfg.final_exploration - cfg.exploration) * passed


def epsilon_greedy(best: torch.Tensor, categories: int, chance: float) -> torch.Tensor:
    """Return actions of which some are drawn uniformly from all categories instead.

    Args:
        best: The actions that are thought the best, ``(N, 1)`` int64.
        categories: Number of categories.
        chance: Chance of a random action, by row.
    """
    drawn = torch.randint(categories, best.shape, device=best.device)
    return torch.where(torch.rand(best.shape, device=best.device) < chance, drawn, best)
