"""Adam and AdamW, without what torch's own bring along.

To make a torch optimiser is to import torch's compiler and a computer algebra system: 2.3 seconds and 72 MB,
which is an eighth of all the memory that the embedded model's training needs. The arithmetic is torch's, to
the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-8


class Adam:
    """Adam (Kingma and Ba, algorithm 1); with ``decoupled`` decay AdamW (Loshchilov and Hutter, algorithm 2).

    Equal to ``torch.optim.Adam`` and ``torch.optim.AdamW`` with ``foreach=True``. As with them, the learning
    rate is ``param_groups[0]["lr"]``, and ``state`` maps each weight to ``step``, ``exp_avg`` and
    ``exp_avg_sq``; torch's ``GradScaler`` takes one for the other. Weights are of one type, on one device.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        learning_rate: float,
        betas: tuple[float, float] = (0.9, 0.999),
        weight_decay: float = 0.0,
        *,
        decoupled: bool,
    ) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(weights), "lr": learning_rate}]
        self.state: dict[Tensor, dict[str, Tensor]] = {weight: {} for weight in weights}
        self.betas, self.weight_decay, self.decoupled = betas, weight_decay, decoupled

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for weight in self.state:
            weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move every weight that has a gradient."""
        weights = [weight for weight in self.state if weight.grad is not None]
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        if not weights:
            return
        rate, (beta1, beta2), decay = float(self.param_groups[0]["lr"]), self.betas, self.weight_decay
        states = [self._state(weight) for weight in weights]
        means, squares = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq"))
        if decay and self.decoupled:
            torch._foreach_mul_(weights, 1 - rate * decay)
        elif decay:
            gradients = list(torch._foreach_add(gradients, weights, alpha=decay))
        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        steps = [state["step"].add_(1).item() for state in states]
        spread = torch._foreach_sqrt(squares)
        torch._foreach_div_(spread, [(1 - beta2**step) ** 0.5 for step in steps])
        torch._foreach_add_(spread, EPSILON)
        torch._foreach_addcdiv_(weights, means, spread, [-(rate / (1 - beta1**step)) for step in steps])

    def _state(self, weight: Tensor) -> dict[str, Tensor]:
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
        return state
