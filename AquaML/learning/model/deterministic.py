"""Models that map observations straight to actions."""

import torch

from AquaML.learning.model.base import Model, ModelInput, ModelOutput, rows_of


class DeterministicModel(Model):
    """A policy without chance: ``compute`` returns ``"actions"`` ``(B, *action_shape)``, or that tensor alone."""

    output_name = "actions"

    def act(self, data_dict: ModelInput) -> ModelOutput:
        """Return ``"actions"`` and whatever else ``compute`` returned.

        Raises:
            ModelError: ``"actions"`` is missing or does not have one row per input row.
        """
        inputs = self.select_inputs(data_dict)
        outputs = self.outputs(inputs)
        actions = outputs.get("actions")
        dimensions = max(2, actions.dim()) if isinstance(actions, torch.Tensor) else 2
        self.require_output(outputs, "actions", (rows_of(inputs),) + (None,) * (dimensions - 1))
        return outputs
