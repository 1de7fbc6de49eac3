"""Where to compute, and in which precision."""

from __future__ import annotations

import os
from dataclasses import dataclass

import torch

from cli import UserError
from launch import Launch


@dataclass(frozen=True)
class Hardware:
    """A device, and the precision of the forward pass there."""

    device: torch.device
    half: torch.dtype | None = None  # under autocast; None: float32

    def autocast(self) -> torch.autocast:
        """The context of a forward pass."""
        return torch.autocast(self.device.type, dtype=self.half, enabled=self.half is not None)

    @property
    def pins_memory(self) -> bool:
        """Whether batches are copied to the device faster from pinned memory."""
        return self.device.type == "cuda"

    def __str__(self) -> str:
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "cpu"
        return f"{name}, {str(self.half or torch.float32).removeprefix('torch.')}"


def find_hardware(
    device: str = "auto",
    gpu_num: int = 0,
    amp: str = "auto",
    deterministic: bool = False,
    place: Launch | None = None,
) -> Hardware:
    """What these settings mean on this machine.

    device: auto, cpu or cuda; gpu_num: of the first process, the others of this machine have those
    that follow; amp: auto (bf16 on GPUs that have it), off (float32, without TF32 too), bf16 or
    fp16; deterministic: let PyTorch use such algorithms alone (on a CPU it does anyway), else
    cuDNN tries out which is the fastest; place: that of this process among others.
    Raises UserError for what is not to be had here.
    """
    place = place or Launch()
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS asks for
    torch.use_deterministic_algorithms(deterministic)
    gpus = torch.cuda.device_count()
    if device == "cuda" and not gpus:
        raise UserError("--device cuda: PyTorch finds no GPU here: give --device cpu or auto")
    if device == "cpu" or not gpus:
        if amp == "fp16":
            raise UserError("--amp fp16 needs a GPU: give bf16 or off")
        return Hardware(torch.device("cpu"), torch.bfloat16 if amp == "bf16" else None)
    if gpu_num >= gpus:
        raise UserError(f"--gpu_num {gpu_num}: this machine has {gpus} GPUs, counted from 0")
    if gpu_num + place.local_size > gpus:
        raise UserError(
            f"{place.local_size} processes need a GPU each, from --gpu_num {gpu_num} on, and this "
            f"machine has {gpus}: lower torchrun's --nproc_per_node"
        )
    gpu_num += place.local_rank
    torch.cuda.set_device(gpu_num)  # what names no device goes there too
    if amp == "auto":
        amp = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "off"
    torch.backends.cudnn.allow_tf32 = amp != "off"  # else "off" would not mean float32
    torch.backends.cudnn.benchmark = not deterministic
    half = {"off": None, "bf16": torch.bfloat16, "fp16": torch.float16}[amp]
    return Hardware(torch.device("cuda", gpu_num), half)
