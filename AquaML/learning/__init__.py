"""Learning: models, memories, agents and trainers."""
