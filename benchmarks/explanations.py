"""Why a ratio is what it is, where that needs saying; the reports print it below the table."""

from typing import Dict, Tuple

_ELU, _RELU = "Free environment, ELU", "Free environment, ReLU"
_FLOOR, _COMPILED = "AquaML, seconds over the floor's", "AquaML compiled, seconds over the floor's"
_CEILING = (
    "the bare matrix products of such an iteration (suite library) take 0.37 s of two threads, the physics 1.7 s: with "
    "no other cost at all the share could be 0.82. The bound was set on a machine whose physics was slower beside its "
    "products."
)

EXPLANATIONS: Dict[Tuple[str, str, str], str] = {
    ("library", _ELU, _FLOOR): (
        "the exponentials of ELU alone take a third of the time of the products here (one thread, 8,192 x 256: ELU "
        "forward 5.2 ms, backward 2.7 ms; its product forward 11.8 ms), and every library pays them. AquaML's "
        "ready-made networks apply ELU in place, so that the backward pass takes the derivative from the result "
        "instead of a second exponential; the peers' networks, as their documentation writes them, do not."
    ),
    ("library", _RELU, _FLOOR): (
        "what is left beside the products is memory traffic of activations, the gather of the minibatch, the critic's "
        "pass over the rollout and the losses."
    ),
    ("library", _ELU, _COMPILED): "see the group with ReLU.",
    ("library", _RELU, _COMPILED): (
        "the compiled losses call the same products; what compiling can fuse is a sixth of the update here."
    ),
    ("end_to_end", "Humanoid-v5", "AquaML over the best peer on the same backend"): (
        "not the library's merit: updates take as long everywhere, but the same backend takes longer under the peers' "
        "actions (see the column of the environment). AquaML's ready-made policies start with small actions, so their "
        "robots fall and collide otherwise."
    ),
    ("share", "", "training over environment alone, batched"): _CEILING,
    ("share", "", "training over environment alone, envpool"): _CEILING,
}
"""Suite, group (empty: any) and title of the comparison to the explanation."""
