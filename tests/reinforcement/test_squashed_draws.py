"""The log-density of actions drawn from a squashed Gaussian."""

import math

import torch
from off_policy_pieces import bound_agent, squashed_log_prob

from AquaML.learning.reinforcement.off_policy import SAC


def test_the_log_density_of_drawn_actions() -> None:
    agent = bound_agent(SAC)
    policy = agent.policy
    mean = torch.linspace(-1.5, 1.5, 4_000).unsqueeze(1)
    parameters = {"mean_actions": mean, "log_std": torch.full_like(mean, -0.3)}
    actions, log_prob = policy.sample_with_log_prob(parameters)
    inside = (actions.abs() < 1.95)[:, 0]
    assert int(inside.sum()) > 2_500
    torch.testing.assert_close(log_prob[inside], policy.log_prob(parameters, actions)[inside], rtol=0.0, atol=1e-4)
    expected = squashed_log_prob(mean, torch.full_like(mean, -0.3).exp(), actions, 2.0).float()
    torch.testing.assert_close(log_prob[inside], expected[inside], rtol=0.0, atol=1e-4)


def test_the_log_density_of_drawn_actions_is_exact_at_the_bounds() -> None:
    policy = bound_agent(SAC).policy
    parameters = {"mean_actions": torch.full((100, 1), 8.0), "log_std": torch.full((100, 1), -1.0)}
    torch.manual_seed(2)
    actions, log_prob = policy.sample_with_log_prob(parameters)
    torch.manual_seed(2)
    inner = (8.0 + math.exp(-1.0) * torch.randn(100, 1)).double()
    assert float(actions.max()) <= 2.0
    slope = math.log(2.0) + 2.0 * (math.log(2.0) - inner - torch.nn.functional.softplus(-2.0 * inner))
    expected = torch.distributions.Normal(8.0, math.exp(-1.0)).log_prob(inner.float()).double() - slope
    torch.testing.assert_close(log_prob.double(), expected, rtol=1e-5, atol=1e-4)


def test_the_log_density_of_drawn_actions_has_the_slope_of_its_definition() -> None:
    policy = bound_agent(SAC).policy
    torch.manual_seed(4)
    # Not so far out that the reference loses its digits.
    mean, log_std = ((0.4 * torch.randn(50, 1) - shift).requires_grad_() for shift in (0.0, 1.0))
    torch.manual_seed(2)
    _, log_prob = policy.sample_with_log_prob({"mean_actions": mean, "log_std": log_std})
    slopes = torch.autograd.grad(log_prob.sum(), (mean, log_std))
    torch.manual_seed(2)
    inner = mean + log_std.exp() * torch.randn(50, 1)
    # Nothing is known here of the noise but that the draw went through it.
    density = torch.distributions.Normal(mean, log_std.exp()).log_prob(inner)
    expected = density - math.log(2.0) - torch.log1p(-torch.tanh(inner).square())
    torch.testing.assert_close(log_prob, expected, rtol=1e-4, atol=1e-4)
    for slope, wanted in zip(slopes, torch.autograd.grad(expected.sum(), (mean, log_std))):
        torch.testing.assert_close(slope, wanted, rtol=1e-3, atol=1e-3)
