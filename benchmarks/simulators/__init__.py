"""PPO on real simulators: one module for each, with its tasks and settings."""
