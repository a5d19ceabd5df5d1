"""One batch over several processes: each encodes its share of it, and all see the whole.

A contrastive loss needs the scores of all pairs of a batch, so the sides are gathered before anything is scored. Every
process then computes the loss of the whole batch, divided by their number W. The gradient of a gathered tensor is
summed over the processes and goes back to the one that encoded the part, and the gradients of the parameters are summed
in the end. What a parameter gets that is used before the gathering is the sum over shares, W times 1/W; one that is
used after it gets the same part from all W. Either way the sum is the gradient that one process computes, whatever the
method does with the sides; only the order of additions differs.

The processes come from torchrun; without it all of this is the plain function call.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
import torch.distributed.nn.functional
from jaxtyping import Int
from torch import Tensor, nn

from vialign.device import CPU


def processes() -> int:
    """How many processes share a batch; 1 outside `process_group`."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process is the one that validates and writes."""
    return processes() == 1 or dist.get_rank() == 0


@contextmanager
def process_group(device: torch.device = CPU) -> Iterator[None]:
    """Join the processes that torchrun started; does nothing in a process that it did not start.

    On CUDA they talk through NCCL, each from its own `device`; elsewhere through gloo.
    """
    if not dist.is_torchelastic_launched():
        yield
        return
    if device.type == "cuda":
        dist.init_process_group("nccl", device_id=device)
    else:
        dist.init_process_group("gloo")
    try:
        yield
        dist.barrier()
    finally:
        dist.destroy_process_group()


def spread(encode: Callable[[Tensor], dict[str, Tensor]], index: Int[Tensor, "item"]) -> dict[str, Tensor]:
    """`encode(index)`, one row an item; over several processes each encodes its share and all get the whole.

    A batch that does not divide by their number is filled up with its last item, which is cut off again.
    """
    count = processes()
    if count == 1:
        return encode(index)
    share = -(-len(index) // count)
    filled = torch.cat([index, index[-1:].expand(share * count - len(index))])
    own = encode(filled[dist.get_rank() * share :][:share])
    return {name: _gather(tensor)[: len(index)] for name, tensor in own.items()}


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add up the gradients of all processes, in place, as one message; a parameter without gradient is left alone."""
    if processes() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    together = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(together)
    for gradient, part in zip(gradients, together.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def _gather(tensor: Tensor) -> Tensor:
    """The rows of all processes, in their order."""
    if tensor.requires_grad:
        return torch.cat(torch.distributed.nn.functional.all_gather(tensor.contiguous()))
    sent = tensor.to(torch.uint8) if tensor.dtype == torch.bool else tensor.contiguous()
    parts = [torch.empty_like(sent) for _ in range(processes())]
    dist.all_gather(parts, sent)
    return torch.cat(parts).to(tensor.dtype)
