"""Several processes that train one network together: `torchrun --nproc_per_node=N main.py ...`

Each process puts its share of the images of a mini-batch through the network; the logits of all are
gathered, and every process computes the loss of the whole mini-batch, so that the labels with the
largest loss are found among all. Gradients flow into the own share and are averaged by
DistributedDataParallel.

All processes call the same functions here in the same order: each waits for the others.

Letters in shapes: R rows of all processes, r those of this one.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import re
import time
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from cli import ToldElsewhere, UserError
from launch import Launch, launch

_AT_ONCE = datetime.timedelta(minutes=30)  # for what all processes do at the same time
_PATIENCE = datetime.timedelta(days=2)  # for the first alone, which may decode a whole data set
_TRIAL = datetime.timedelta(seconds=2)
_PEER_GONE = re.compile(r"(connection|socket).* (closed|reset)|broken pipe|process exited", re.I)
_EPOCH_KEPT, _PORT = "an epoch is kept", "port"  # in torchrun's store
T = TypeVar("T")


@dataclass(frozen=True)
class Processes(Launch):
    """This process and the others; alone, nothing is sent and every share is all."""

    store: dist.Store | None = None  # torchrun's, which outlives the processes that it starts
    patient: Any = None  # a process group of all of them, for what may take the first long

    def lengths(self, count: int) -> list[int]:
        """How many of `count` rows, dealt out in order, each process takes."""
        return [count // self.size + (rank < count % self.size) for rank in range(self.size)]

    def own(self, rows: Tensor) -> Tensor:
        """The rows [r, ...] of this process, of all [R, ...]; the first where none is left for it.

        Of what comes of such a stand-in, `gather` takes no notice.
        """
        share = rows.tensor_split(self.size)[self.rank]
        return share if len(share) else rows[:1]

    def gather(self, own: Tensor, lengths: Sequence[int], for_all: bool = True) -> Tensor:
        """The rows [R, ...] of all processes in order, `lengths` of each; `own` [r, ...].

        Own rows keep their gradient, multiplied by the number of processes: it is averaged later.
        Not `for_all`: the first process alone has them, the others none, [0, ...].
        """
        if self.size == 1:
            return own
        own = own[: lengths[self.rank]]
        padded = own.new_zeros((max(lengths), *own.shape[1:]))
        padded[: len(own)] = own.detach()
        parts = [torch.empty_like(padded) for _ in lengths if for_all or self.is_first]
        if for_all:
            dist.all_gather(parts, padded)
        else:
            dist.gather(padded, parts or None, dst=0)
        if not parts:
            return own[:0]
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
        result: Any = None
        mistake: str | None = None
        if self.is_first:
            try:
                result = make()
            except UserError as error:
                self._hear((None, str(error)))
                raise
        result, mistake = self._hear((result, None))
        if mistake is not None:
            raise ToldElsewhere(mistake)
        return result

    def together(self, make: Callable[[], T]) -> T:
        """What `make()` gives in each process, once all have it.

        A UserError in one is one of all: ToldElsewhere in all but the first that met it.
        """
        if self.size == 1:
            return make()
        result, mistake = None, None
        try:
            result = make()
        except UserError as error:
            mistake = str(error)
        mistakes: list[str | None] = [None] * self.size
        dist.all_gather_object(mistakes, mistake, self.patient)
        for rank, told in enumerate(mistakes):
            if told is not None:
                raise (UserError if rank == self.rank else ToldElsewhere)(told)
        return result  # type: ignore[return-value]

    def in_turn(self, make: Callable[[], T]) -> T:
        """What `make()` gives in each process, in the others once it has succeeded in the first.

        What that one leaves on a disk, fetched weights say, the others find. Raises as `together`.
        """
        made: list[T] = []
        self.once(lambda: made.append(make()))
        return self.together(lambda: made[0] if made else make())

    def parallel(self, net: nn.Module) -> nn.Module:
        """The network to call in a step: its gradients are averaged over the processes.

        Alone, the network itself.
        """
        if self.size == 1:
            return net
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # new releases rename the argument
            # static: every step uses the same parameters, which need not be all of them
            return DistributedDataParallel(net, broadcast_buffers=False, static_graph=True)

    def share_buffers(self, net: nn.Module) -> None:
        """Give all processes the first one's buffers: the statistics of its batch norms."""
        if self.size > 1:
            for buffer in net.buffers():
                dist.broadcast(buffer, src=0)

    def check_same(self, tensors: Iterable[Tensor], what: str) -> None:
        """Raise UserError where these are not, to the bit, the same in all processes."""
        if self.size == 1:
            return
        digest = 0
        for tensor in tensors:
            digest = zlib.crc32(tensor.detach().cpu().numpy().data, digest)
        digests = [0] * self.size
        dist.all_gather_object(digests, digest, self.patient)
        if len(set(digests)) > 1:
            raise UserError(
                f"{what} are not the same in all processes: different processors may round "
                "differently, give GPUs, or machines, of one kind"
            )

    def note_epoch(self) -> None:
        """Let processes that torchrun starts in the place of these know that an epoch is kept."""
        if self.store is not None and self.is_first:
            self.store.set(_EPOCH_KEPT, "")

    def follow_others(self) -> bool:
        """Whether torchrun started these in the place of others that had kept an epoch."""
        return self.store is not None and self.store.check([_EPOCH_KEPT])

    def _hear(self, said: Any) -> Any:
        """What the first process says, to all."""
        box = [said]
        dist.broadcast_object_list(box, src=0, group=self.patient, device=torch.device("cpu"))
        return box[0]


ALONE = Processes()


@contextlib.contextmanager
def joined(device: str) -> Iterator[Processes]:
    """This process among those that torchrun has started; `device`: auto, cpu or cuda."""
    place = launch()
    if not place.by_torchrun:
        yield ALONE
        return
    store, _, _ = next(iter(dist.rendezvous("env://", timeout=_AT_ONCE)))
    if place.size == 1:
        yield Processes(**vars(place), store=store)
        return
    on_gpu = device != "cpu" and torch.cuda.device_count() > 0
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        store=_meeting_place(place, store),
        rank=place.rank,
        world_size=place.size,
        timeout=_AT_ONCE,
    )
    ended = False
    try:
        patient = dist.new_group(backend="gloo", timeout=_PATIENCE)
        yield Processes(**vars(place), store=store, patient=patient)
        ended = True
    finally:
        if ended or not on_gpu:  # NCCL would wait for the others, who may no longer answer
            dist.destroy_process_group()


def _meeting_place(place: Launch, store: dist.Store) -> dist.Store:
    """Where the processes find each other; torchrun's own store keeps addresses of dead ones.

    Of several machines each counts the restarts by itself, so there the first process opens a
    store that ends with it.
    """
    if place.local_size == place.size:
        return dist.PrefixStore(f"restart {place.restarts}", store)
    host = os.environ["MASTER_ADDR"]
    if place.is_first:
        own = dist.TCPStore(host, 0, is_master=True, wait_for_workers=False, timeout=_AT_ONCE)
        store.set(_PORT, str(own.port))
        return own
    end = time.monotonic() + _AT_ONCE.total_seconds()
    while True:
        try:
            port = int(store.get(_PORT))  # it may be that of a first process that has ended
            met = dist.TCPStore(host, port, is_master=False, timeout=_TRIAL)
        except dist.DistError:
            if time.monotonic() > end:
                raise
        else:
            met.set_timeout(_AT_ONCE)
            return met


@contextlib.contextmanager
def peers() -> Iterator[None]:
    """Within this, the end of another process is ToldElsewhere: it told why, or torchrun does."""
    try:
        yield
    except RuntimeError as error:
        said = " ".join(str(error).split())
        if launch().size > 1 and _PEER_GONE.search(said):
            raise ToldElsewhere(f"another process of this run has ended ({said[:160]})") from error
        raise
