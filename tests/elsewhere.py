"""A device that has its own name and real values, so that a tensor that is made elsewhere is noticed on the CPU too.

The meta device notices such a tensor as well, but has no values: what asks for one stops there, and nothing behind the
question is looked at. Here tensors claim to be on the meta device and keep their numbers on the CPU.
"""

from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only, tree_unflatten

from vialign.device import CPU

META = torch.device("meta")
_COPIES = ("_to_copy", "copy_")
_PICKS = ("index", "index_put", "index_put_", "_index_put_impl_")
"""Operations whose second argument are positions, which may be on the CPU."""


class _There(torch.Tensor):
    """A tensor that says that it is on the meta device; `held` has its numbers."""

    @staticmethod
    def __new__(cls, held):
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), dtype=held.dtype, device=META
        )
        made.held = held
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})

    def tolist(self):
        return self.held.tolist()


class _Operations(TorchDispatchMode):
    """All operations, those too whose arguments are no tensors."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})


class _Lists(TorchFunctionMode):
    """Lists and numbers that become tensors, which no operation does."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function is torch.tensor and kwargs.get("device") is not None:
            return torch.tensor(*args, **{**kwargs, "device": CPU}).to(kwargs["device"])
        if function is torch.Tensor.new_tensor:
            like, *told = args
            return torch.tensor(*told, **{"dtype": like.dtype, **kwargs}).to(like.device)
        return function(*args, **kwargs)


@contextmanager
def elsewhere():
    """While it lasts, what is made on or moved to the meta device has values, and meets nothing that is not there."""
    with _Lists(), _Operations():
        yield


def _run(operation, args, kwargs):
    """The operation on the numbers; its results are where its tensors are, or where it is told to make them."""
    name = operation._schema.name.removeprefix("aten::")
    leaves, form = tree_flatten((args, kwargs))
    there = any(isinstance(leaf, _There) for leaf in leaves)
    if there and name not in _COPIES:
        met = tree_leaves((args[:1], args[2:], kwargs)) if name in _PICKS else leaves
        # As on a GPU, a number on the CPU may meet anything.
        met = [leaf for leaf in met if isinstance(leaf, torch.Tensor) and not isinstance(leaf, _There)]
        if any(leaf.dim() or leaf.device == META for leaf in met):
            raise RuntimeError(f"{name}: tensors of two devices")
    held = [leaf.held if isinstance(leaf, _There) else leaf for leaf in leaves]
    held_args, held_kwargs = tree_unflatten(held, form)
    if kwargs.get("device") is not None:
        there = torch.device(kwargs["device"]) == META
        held_kwargs["device"] = CPU
    found = operation(*held_args, **held_kwargs)
    if operation._schema.is_mutable:
        known = {id(part): leaf for part, leaf in zip(held, leaves, strict=True)}
        return tree_map_only(torch.Tensor, lambda part: known[id(part)], found)
    return tree_map_only(torch.Tensor, _There, found) if there else found
