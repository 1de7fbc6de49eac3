"""What the machine fails at costs one line with the setting that helps."""

import pytest
import torch

from cli import UserError
from failures import explained


def fail_with(error):
    with explained(bsize=16, image_size=448, num_workers=4):
        raise error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ..."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_out_of_memory_says_which_setting_to_lower(error):
    with pytest.raises(UserError) as caught:
        fail_with(error)
    said = str(caught.value)
    assert said.startswith("out of memory: lower --bsize (it is 16) or --image_size (it is 448)")
    assert "\n" not in said


def test_memory_that_really_runs_out_is_understood():
    with pytest.raises(UserError, match="--bsize"), explained(1, 8, 0):
        torch.empty(2**50, dtype=torch.uint8)


@pytest.mark.parametrize(
    "said",
    [
        "DataLoader worker (pid 7) is killed by signal: Killed.",
        "DataLoader worker (pid(s) 7) exited unexpectedly",
        "unable to open shared memory object </torch_7> in read-write mode",
        "Too many open files. Communication with the workers is no longer possible.",
    ],
)
def test_a_dead_worker_says_which_setting_to_lower(said):
    with pytest.raises(UserError, match=r"--num_workers \(it is 4"):
        fail_with(RuntimeError(said))


def test_an_operation_that_is_never_deterministic_is_named():
    said = "foo_backward_cuda does not have a deterministic implementation, but you set 'torch...'"
    with pytest.raises(UserError, match=r"--deterministic: .* foo_backward_cuda"):
        fail_with(RuntimeError(said))


def test_a_missing_compiler_is_named():
    said = "InvalidCxxCompiler: No working C++ compiler found in torch._inductor.config.cpp.cxx"
    with pytest.raises(UserError, match="--compile: PyTorch finds no compiler"):
        fail_with(RuntimeError(said))


@pytest.mark.parametrize("error", [RuntimeError("a fault of ours"), KeyError("x"), ValueError("y")])
def test_a_fault_of_ours_passes(error):
    with pytest.raises(type(error)) as caught:
        fail_with(error)
    assert caught.value is error
