"""Adam and AdamW beside torch's own, bit for bit, and what they leave out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from baselines.adam import Adam

KINDS = {False: torch.optim.Adam, True: torch.optim.AdamW}


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_every_step_is_torch_s_to_the_last_bit(decoupled: bool, decay: float) -> None:
    """30 steps with a changing rate, and one weight that has a gradient in every third step alone."""
    draw = torch.Generator().manual_seed(1)
    sizes = [(7, 5), (3,), (64, 2)]
    ours = [torch.randn(size, generator=draw).requires_grad_(True) for size in sizes]
    theirs = [weight.detach().clone().requires_grad_(True) for weight in ours]
    mine = Adam(ours, 1e-2, (0.8, 0.95), decay, decoupled=decoupled)
    torchs = KINDS[decoupled](theirs, lr=1e-2, betas=(0.8, 0.95), weight_decay=decay, foreach=True)
    for step in range(30):
        for optimizer in (mine, torchs):
            optimizer.zero_grad()
            optimizer.param_groups[0]["lr"] = 1e-2 / (1 + step)
        for place, (weight, other) in enumerate(zip(ours, theirs, strict=True)):
            if place != 1 or step % 3 == 1:
                weight.grad = torch.randn(weight.shape, generator=draw)
                other.grad = weight.grad.clone()
        mine.step()
        torchs.step()
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True)), step
    for weight, other in zip(ours, theirs, strict=True):
        assert set(mine.state[weight]) == {"step", "exp_avg", "exp_avg_sq"}
        for name, value in mine.state[weight].items():
            assert torch.equal(value, torchs.state[other][name])
    assert mine.state[ours[1]]["step"] == 10


def test_torch_s_scaler_takes_it_for_an_optimiser() -> None:
    """Gradients are divided by the scale; a step whose gradients overflow is left out, and the scale halved."""
    weight = torch.ones(4, requires_grad=True)
    optimizer = Adam([weight], 0.1, decoupled=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    torch.autograd.backward(scaler.scale(weight.sum()))
    scaler.unscale_(optimizer)  # type: ignore[arg-type]
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.ones(4))
    scaler.step(optimizer)  # type: ignore[arg-type]
    scaler.update()
    moved = weight.detach().clone()
    assert not torch.equal(moved, torch.ones(4))
    optimizer.zero_grad()
    torch.autograd.backward(scaler.scale((weight * torch.inf).sum()))
    scaler.step(optimizer)  # type: ignore[arg-type]
    scaler.update()
    assert torch.equal(weight, moved)
    assert scaler.get_scale() == 4.0


def test_training_does_without_torch_s_compiler() -> None:
    """Neither it nor sympy is imported by the training loop: that would take seconds, and 72 MB."""
    script = (
        "import sys, torch; from baselines.adam import Adam; from baselines.training import Training\n"
        "weight = torch.ones(2, requires_grad=True); made = Adam([weight], .1, decoupled=True)\n"
        "weight.grad = torch.ones(2); made.step()\n"
        "print(*{'torch._dynamo', 'sympy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == ""
