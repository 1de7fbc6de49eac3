"""The best model of a run as one file that other programs read, and what such a file answers.

Letters in shapes: B images, S pixels to a side, K classes.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cli import UserError
from config import Config, command
from models import ImageClassifier
from record import RunRecord, git_commit

if TYPE_CHECKING:
    from torch.export import ExportedProgram

BATCHES = (1, 3)  # sizes at which a file is compared with the model
MOST_BYTES = 1_900_000_000  # an ONNX file is one message, of less than 2 GiB
_ONNX = ("onnx", "onnxscript", "onnxruntime")
Predict = Callable[[Tensor], Tensor]


def check_packages(format: str) -> None:
    """Raise UserError where packages are missing that the format needs."""
    missing = [name for name in _ONNX if importlib.util.find_spec(name) is None]
    if format == "onnx" and missing:
        raise UserError(f"--format onnx needs packages: pip install {' '.join(missing)}")


def facts_of(folder: Path, config: Config, classes: tuple[str, ...], epoch: int) -> dict[str, str]:
    """What a program must know to use the model, and people to know where it is from."""
    trained = RunRecord(folder).read_config()["environment"].get("git_commit", "unknown")
    return {
        "classes": json.dumps(classes),
        "image_size": str(config.image_size),
        "input": "images: uint8 [B, 3, S, S], values 0 to 255",
        "channel_order": "RGB",
        "resize": "to a square of S pixels, bilinear with antialiasing, no crop",
        "normalisation": "inside the model",
        "output": "logits: float32 [B, K]; the probability of a class is the sigmoid of its logit",
        "arch": config.arch,
        "epoch": str(epoch),
        "command": command(config),
        "git_commit_of_training": str(trained),
        "git_commit_of_export": git_commit(),
    }


def packed(model: ImageClassifier, size: int, format: str, facts: Mapping[str, str]) -> bytes:
    """The content of the file: the model for any number of images of that size, and the facts.

    `format`: "onnx", where the facts are `metadata_props`, or "torch_export", where they are the
    extra file facts.json. Raises UserError for a model that is too large for ONNX, and for one that
    PyTorch cannot export.
    """
    sizes = [tensor.nbytes for tensor in model.state_dict().values()]
    if format == "onnx" and sum(sizes) > MOST_BYTES:
        raise UserError(
            f"the model has {sum(sizes) / 1e9:.1f} GB, an ONNX file at most 2: "
            "give --format torch_export"
        )
    try:
        with _quiet():
            program = _traced(model, size)
            return _onnx(program, facts) if format == "onnx" else _torch_export(program, facts)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # of any kind: a network's code may be what PyTorch cannot follow
        reason = next(filter(None, map(str.strip, str(error).splitlines())), "")
        raise UserError(
            f"PyTorch {torch.__version__} cannot export {facts['arch']} as {format}: "
            f"{type(error).__name__}: {reason[:200]}"
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Within this, the exporters say nothing of their own workings."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):  # it prints graphs
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(before)


def predictor(content: bytes, format: str) -> Predict:
    """What the file answers: logits [B, K] of images uint8 [B, 3, S, S], on the CPU."""
    if format == "torch_export":
        return torch.export.load(io.BytesIO(content)).module()
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


@torch.inference_mode()
def largest_difference(ours: Predict, theirs: Predict, images: Tensor) -> float:
    """The largest difference of two logits of these images, in batches of every size of BATCHES.

    `images` uint8 [B, 3, S, S], at least as many as the largest batch. NaN where a logit is no
    number.
    """
    return max(
        (float((ours(images[:size]) - theirs(images[:size])).abs().max()) for size in BATCHES),
        key=lambda value: float("inf") if value != value else value,
    )


def _traced(model: ImageClassifier, size: int) -> ExportedProgram:
    """The computation of the model, with nothing in it of the paths on this machine."""
    images = torch.zeros(2, 3, size, size, dtype=torch.uint8)
    number = {"images": {0: torch.export.Dim("batch")}}
    program = torch.export.export(model, (images,), dynamic_shapes=number)
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            node.meta.pop("stack_trace", None)
    return program


def _onnx(program: ExportedProgram, facts: Mapping[str, str]) -> bytes:
    exported = torch.onnx.export(
        program,
        dynamo=True,
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes={"images": {0: "batch"}},
        verbose=False,
    )
    assert exported is not None, "so it is where dynamo is true"
    exported.model.metadata_props.update(facts)
    return exported.model_proto.SerializeToString()


def _torch_export(program: ExportedProgram, facts: Mapping[str, str]) -> bytes:
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={"facts.json": json.dumps(facts, indent=2)})
    return file.getvalue()
