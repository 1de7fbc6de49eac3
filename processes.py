"""Several processes that train one network together: `torchrun --nproc_per_node=N main.py ...`

A mini-batch is the one of a single process. Each process puts its share of the images through the
network; the logits of all are gathered, and every process computes the loss of the whole
mini-batch, so that the labels with the largest loss are found among all. Gradients flow into the
own share and are averaged by DistributedDataParallel.

Letters in shapes: B images of a mini-batch, R rows of all processes.
"""

from __future__ import annotations

import contextlib
import datetime
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cli import ToldElsewhere, UserError
from launch import Launch, launch

_PATIENCE = datetime.timedelta(days=2)  # the first process may decode a whole data set before
_NO_PEER = re.compile(r"gloo|nccl|connection (closed|reset)", re.I)
T = TypeVar("T")


@dataclass(frozen=True)
class Processes(Launch):
    """This process and the others; alone, nothing is sent and every share is all."""

    def lengths(self, count: int) -> list[int]:
        """How many of `count` things, which go round in order, each process takes."""
        return [count // self.size + (rank < count % self.size) for rank in range(self.size)]

    def own(self, rows: Tensor) -> Tensor:
        """The rows of this process: contiguous; the first of all where there are none for it.

        Of what comes of such a stand-in, `gather` takes no notice.
        """
        share = rows.tensor_split(self.size)[self.rank]
        return share if len(share) else rows[:1]

    def gather(self, own: Tensor, lengths: Sequence[int]) -> Tensor:
        """The rows [R, ...] of all processes in order, `lengths` of each; `own` are this one's.

        Own rows keep their gradient, multiplied by the number of processes: it is averaged later.
        """
        if self.size == 1:
            return own
        own = own[: lengths[self.rank]]
        shape = (max(lengths), *own.shape[1:])
        padded = own.new_zeros(shape)
        padded[: len(own)] = own.detach()
        parts = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(parts, padded)
        parts = [part[:length] for part, length in zip(parts, lengths, strict=True)]
        if own.requires_grad:
            own.register_hook(lambda gradient: gradient * self.size)
            parts[self.rank] = own
        return torch.cat(parts)

    def once(self, make: Callable[[], T]) -> T:
        """What `make()` gives in the first process, in all of them; it runs there alone.

        A UserError there is one everywhere: ToldElsewhere in the others.
        """
        if self.size == 1:
            return make()
        if not self.is_first:
            result, error = self._hear(None)
            if error is not None:
                raise ToldElsewhere(error)
            return result
        try:
            result = make()
        except UserError as error:
            self._hear((None, str(error)))
            raise
        self._hear((result, None))
        return result

    def in_turn(self, make: Callable[[], T]) -> T:
        """What `make()` gives in each process, once it has succeeded in the first.

        What that one leaves on a disk, a cache say, the others find.
        """
        made: list[T] = []
        self.once(lambda: made.append(make()))
        return made[0] if made else make()

    def parallel(self, net: nn.Module) -> nn.Module:
        """The network to call in a step: its gradients are averaged over the processes.

        Where it is alone, the network itself.
        """
        if self.size == 1:
            return net
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # new releases rename the argument
            # static: every step uses the same parameters, which need not be all of them
            return DistributedDataParallel(net, broadcast_buffers=False, static_graph=True)

    def share_buffers(self, net: nn.Module) -> None:
        """Give all processes the first one's statistics of batch norms, whose own they trained."""
        if self.size > 1:
            for buffer in net.buffers():
                dist.broadcast(buffer, src=0)

    @staticmethod
    def _hear(said: Any) -> Any:
        """What the first process says, to all."""
        box = [said]
        dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
        return box[0]


ALONE = Processes()


@contextlib.contextmanager
def joined(device: str) -> Iterator[Processes]:
    """This process among those that torchrun has started; `device`: auto, cpu or cuda.

    Raises ToldElsewhere once another of them has ended: torchrun says so, or it has done itself.
    """
    place = launch()
    if place.size == 1:
        yield ALONE
        return
    on_gpu = device != "cpu" and torch.cuda.device_count() > 0
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        store=_meeting_place(place), rank=place.rank, world_size=place.size, timeout=_PATIENCE,
    )  # fmt: skip
    ended = False
    try:
        yield Processes(**vars(place))
        ended = True
    except RuntimeError as error:
        if _NO_PEER.search(str(error)):
            raise ToldElsewhere("another process of this run has ended") from error
        raise
    finally:
        if ended or not on_gpu:  # NCCL would wait for the others, who may no longer answer
            dist.destroy_process_group()


def _meeting_place(place: Launch) -> dist.Store:
    """Where the processes find each other.

    torchrun keeps it when it starts them anew, with the addresses of those that are dead. Of
    several machines each counts the restarts by itself, so there they cannot be told apart.
    """
    store, _, _ = next(iter(dist.rendezvous("env://")))
    on_one_machine = place.local_size == place.size
    return dist.PrefixStore(f"restart {place.restarts if on_one_machine else 0}", store)
