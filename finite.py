"""Numbers that are none (NaN, infinite): noticed at the step that they appear in."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

import torch
from torch import Tensor


class NotFinite(ArithmeticError):
    """The loss of a step, counted from 1 in its epoch, is no finite number."""

    def __init__(self, step: int, loss: float) -> None:
        super().__init__(f"step {step}: the loss is {loss}")
        self.step, self.loss = step, loss


class LossWatch:
    """Watches the losses of an epoch without making a GPU wait.

    From there the losses are copied in the background and looked at once they have come, some
    steps later; on a CPU each is looked at in its own step.
    """

    def __init__(self) -> None:
        self._steps = 0
        self._underway: deque[tuple[int, Tensor, torch.cuda.Event | None]] = deque()

    def see(self, loss: Tensor) -> None:
        """Take the loss of the next step, a scalar. Raises NotFinite for one seen so far."""
        self._steps += 1
        self._underway.append((self._steps, *_to_host(loss.detach())))
        while self._underway and _has_come(self._underway[0][2]):
            self._look()

    def finish(self) -> None:
        """Look at the losses that are still under way. Raises NotFinite."""
        while self._underway:
            _, _, event = self._underway[0]
            if event is not None:
                event.synchronize()
            self._look()

    def _look(self) -> None:
        step, loss, _ = self._underway.popleft()
        if not torch.isfinite(loss):
            raise NotFinite(step, loss.item())


def _to_host(value: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """The value on the CPU, and what tells that it has come (None: it is there)."""
    if not value.is_cuda:
        return value, None
    host = torch.empty_like(value, device="cpu", pin_memory=True).copy_(value, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return host, event


def _has_come(event: torch.cuda.Event | None) -> bool:
    return event is None or event.query()


def not_finite(tensors: Mapping[str, Tensor]) -> list[str]:
    """The names of the tensors that hold a number that is none; waits for the device once."""
    names = [name for name, tensor in tensors.items() if tensor.is_floating_point()]
    if not names:
        return []
    finite = torch.stack([tensors[name].isfinite().all() for name in names]).tolist()
    return [name for name, good in zip(names, finite, strict=True) if not good]
