"""Values as distributions over fixed atoms (Bellemare et al., 2017, "A distributional perspective on RL")."""

import torch


class ValueDistribution:
    """Equally spaced values from ``-limit`` to ``limit``, over which a critic spreads probability.

    Args:
        limit: The largest value.
        atoms: How many values there are, at least 2.
        device: Where everything lives.
    """

    def __init__(self, limit: float, atoms: int, device: torch.device) -> None:
        self.limit, self.atoms = limit, atoms
        self.values = torch.linspace(-limit, limit, atoms, device=device)
        self._per_unit = (atoms - 1) / (2.0 * limit)

    def expected(self, logits: torch.Tensor) -> torch.Tensor:
        """Return mean values.

        Args:
            logits: ``(*B, atoms)``.

        Returns:
            ``(*B)``.
        """
        return torch.softmax(logits, dim=-1) @ self.values

    def projected(self, probabilities: torch.Tensor, offsets: torch.Tensor, discounts: torch.Tensor) -> torch.Tensor:
        """Return the distribution of ``offset + discount * value``, split between the nearest atoms.

        What falls beyond the limits goes to the outermost atom.

        Args:
            probabilities: Distribution of the successors' values, ``(B, atoms)``.
            offsets: ``(B, 1)``.
            discounts: ``(B, 1)``.

        Returns:
            ``(B, atoms)``, each row a distribution.
        """
        moved = (offsets + discounts * self.values).clamp(-self.limit, self.limit)
        places = ((moved + self.limit) * self._per_unit).clamp(0.0, self.atoms - 1.0)
        below = places.floor()
        share = places - below
        # What is not finite stays so in the shares, where the guard sees it, but must not become a place.
        lower = torch.nan_to_num(below).long()
        upper = (lower + 1).clamp_(max=self.atoms - 1)
        result = torch.zeros_like(probabilities)
        result.scatter_add_(1, lower, probabilities * (1.0 - share))
        return result.scatter_add_(1, upper, probabilities * share)

    def cross_entropy(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the cross entropy of critics' distributions with a target, ``(B, critics)``.

        Args:
            logits: ``(B, critics, atoms)``.
            targets: ``(B, atoms)``.
        """
        return -(torch.log_softmax(logits, dim=-1) * targets.unsqueeze(1)).sum(dim=-1)
