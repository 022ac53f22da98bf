"""Reads pickles of plain values by interpreting their instructions: nothing that a file names is imported or called.

Python's own unpickler imports what a file names and calls it, which is how a pickle runs code; even with its imports
restricted, a file of a few bytes can make it allocate gigabytes or hash for hours. So only the instructions that the
files of CIFAR-10 and of `torch.save` consist of are known here (PEP 307, PEP 3154; `pickletools` splits them), keys of
dictionaries are text or whole numbers, and a name or a call means only what a subclass makes of it.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

_MOST_INSTRUCTIONS = 500_000  # a batch of CIFAR-10 has about 50,000
_LITERALS = frozenset(
    "BININT BININT1 BININT2 LONG1 INT BINFLOAT UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES "
    "SHORT_BINBYTES BINBYTES8".split()
)
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False, "EMPTY_DICT": dict, "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}  # fmt: skip
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class PickleError(ValueError):
    """The bytes are no pickle of plain values; the message is the reason, without a final full stop."""


class Name(NamedTuple):
    """A class or function that a file names; it stands for itself and cannot be called."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class PlainUnpickler:
    """Builds the next object of a file out of dictionaries, lists, tuples, text, bytes and numbers.

    Args:
      file: is read up to the end of the object.
    """

    def __init__(self, file: BinaryIO):
        self._file = file

    def find(self, name: Name) -> Any:
        """Returns what a name stands for; raises PickleError for one that is not expected."""
        raise PickleError(f"it asks for {name}")

    def call(self, function: Any, args: tuple) -> Any:
        """Returns what the call of something that `find` returned stands for."""
        raise PickleError("it calls a function")

    def build(self, target: Any, state: Any) -> None:
        """Gives `target`, which `call` returned, its state."""
        raise PickleError("it gives a plain value a state")

    def refer(self, reference: Any) -> Any:
        """Returns what a persistent reference stands for."""
        raise PickleError("it refers to another file")

    def text(self, data: bytes) -> Any:
        """Returns what a string of Python 2 stands for."""
        return data

    def load(self) -> Any:
        """Returns the object.

        Raises:
          PickleError: it is damaged, or says anything but plain values.
        """
        try:
            return self._load()
        except PickleError:
            raise
        except Exception as error:  # damaged instructions raise almost anything
            raise PickleError(str(error).rstrip(".")[:200] or type(error).__name__) from error

    def _load(self) -> Any:
        stack: list[Any] = []
        marks: list[int] = []
        memo: dict[int, Any] = {}
        for number, (opcode, argument, _) in enumerate(pickletools.genops(self._file)):
            name = opcode.name
            if number >= _MOST_INSTRUCTIONS:
                raise PickleError(f"it has more than {_MOST_INSTRUCTIONS:,} instructions")
            if name in _LITERALS:
                stack.append(argument)
            elif name in _CONSTANTS:
                stack.append(_CONSTANTS[name]())
            elif name in ("SHORT_BINSTRING", "BINSTRING"):
                stack.append(self.text(str(argument).encode("latin-1")))
            elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
                memo[int(argument)] = stack[-1]  # pyright: ignore[reportArgumentType]
            elif name == "MEMOIZE":
                memo[len(memo)] = stack[-1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                stack.append(memo[int(argument)])  # pyright: ignore[reportArgumentType]
            elif name == "MARK":
                marks.append(len(stack))
            elif name == "STOP":
                return stack.pop()
            elif name not in ("PROTO", "FRAME"):
                self._step(name, argument, stack, marks)
        raise PickleError("it has no end")

    def _step(self, name: str, argument: Any, stack: list[Any], marks: list[int]) -> None:
        """One of the instructions that take values off the stack."""
        if name in _TUPLES:
            stack[-_TUPLES[name] :] = [tuple(_take(stack, len(stack) - _TUPLES[name], keep=True))]
        elif name == "TUPLE":
            stack.append(tuple(_take(stack, marks.pop())))
        elif name in ("APPEND", "APPENDS"):
            items = [stack.pop()] if name == "APPEND" else _take(stack, marks.pop())
            _check(stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = _take(stack, len(stack) - 2 if name == "SETITEM" else marks.pop())
            _check(stack[-1], dict).update(_pairs(items))
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            parts = argument.split(" ", 1) if name == "GLOBAL" else _take(stack, len(stack) - 2)
            stack.append(self.find(Name(*(_check(part, str) for part in parts))))
        elif name == "REDUCE":
            function, args = _take(stack, len(stack) - 2)
            stack.append(self.call(function, _check(args, tuple)))
        elif name == "BUILD":
            state = stack.pop()
            self.build(stack[-1], state)
        elif name == "BINPERSID":
            stack.append(self.refer(stack.pop()))
        else:
            raise PickleError(f"it uses the instruction {name}, which plain values do not need")


def _take(stack: list[Any], start: int, *, keep: bool = False) -> list[Any]:
    """Takes the values from `start` on off the stack."""
    if not 0 <= start <= len(stack):
        raise PickleError("it takes more values than it gives")
    items = stack[start:]
    if not keep:
        del stack[start:]
    return items


def _check(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise PickleError(f"it has a {type(value).__name__} where a {kind.__name__} is due")
    return value


def _pairs(items: list[Any]) -> dict[Any, Any]:
    keys = items[::2]
    if not all(type(key) in (str, bytes, int) for key in keys):  # the hash of nested tuples can take for ever
        raise PickleError("a key of a dictionary is neither text nor a number")
    return dict(zip(keys, items[1::2], strict=True))


def pairs_to_dict(items: Any) -> dict[Any, Any]:
    """Returns the dictionary of a list of pairs (tuples or lists), as old pickles of an OrderedDict hold it."""
    flat: list[Any] = []
    for pair in _check(items, list):
        if type(pair) not in (list, tuple) or len(pair) != 2:
            raise PickleError("a dictionary is made of something else than pairs")
        flat += pair
    return _pairs(flat)
