"""Pickles, read without unpickling: a stack machine of our own over the opcodes that ``pickletools`` documents.

Nothing is imported, called or hashed. What a pickle would call becomes a Made; what it would look up becomes a
Global. So a hostile pickle can only be large, and for that there are budgets: opcodes and marks here, nodes and text in
runs.payloads.draw. Each opcode makes at most one object no larger than its own bytes, so memory stays in proportion
to the input.
"""

import _compat_pickle
import io
import pickletools
from collections.abc import Callable
from typing import Any, Final

from runs.payloads.draw import draw
from runs.payloads.raw import Global, Items, Made, Pairs, Raw, name_of
from runs.payloads.tree import Bytes, Decoded, Scalar, elided

MAX_OPCODES: Final = 400_000  # about half a second; a value takes two, rarely three
MAX_MARKS: Final = 10_000  # in each other, where no more than MAX_DEPTH containers in each other are shown


class _Stop(Exception):
    """The machine can't go on; the text says why."""


def read(data: bytes, *, truncated: bool = False) -> Decoded:
    """The tree of a pickle of any protocol. Where it breaks off, what stands by then, and a problem."""
    machine = _Machine(data)
    problem = ""
    try:
        result = machine.run()
    except _Stop as stop:
        result = machine.collapse()
        problem = "the rest was not read" if truncated else f"{stop}: shown up to opcode {machine.count:,}"
    drawn = draw(result) if result is not _NOTHING else Decoded(None, "")
    return Decoded(drawn.tree, "; ".join(filter(None, (problem, drawn.problem))))


_NOTHING: Final = elided("nothing")


class _Machine:
    def __init__(self, data: bytes) -> None:
        self.file = io.BytesIO(data)
        self.size = len(data)
        self.stack: list[Raw] = []
        self.below: list[list[Raw]] = []  # the stacks under each mark, as in pickle._Unpickler
        self.memo: dict[int, Raw] = {}
        self.protocol = 0
        self.count = 0

    def run(self) -> Raw:
        """Raises _Stop."""
        read, codes = self.file.read, CODES
        for self.count in range(1, MAX_OPCODES + 1):
            code = read(1)
            if code == b".":
                return self._pop()
            if code not in codes:
                raise _Stop("not a pickle" if code else "the pickle ends too early")
            name, argument, handler = codes[code]
            arg = None
            if name in SIZED:
                arg = self._sized(name)
            elif argument is not None:
                try:
                    arg = argument(self.file)
                except (ValueError, OverflowError, MemoryError) as error:
                    early = self.file.tell() >= self.size
                    raise _Stop("the pickle ends too early" if early else f"a broken {name}: {error}"[:200]) from None
            if handler is None:
                self.stack.append(arg)  # all others push their argument: numbers and texts
            else:
                handler(self, arg)
        raise _Stop("too many opcodes")

    def _sized(self, name: str) -> Raw:
        """A text or bytes behind its length: what is there of it, and no failure for bad UTF-8."""
        width = SIZED[name]
        length = int.from_bytes(self.file.read(width), "little")
        data = self.file.read(min(length, self.size))
        value: Raw = data
        if "UNICODE" in name:
            try:
                value = data.decode("utf-8", "surrogatepass")
            except UnicodeDecodeError:
                value = Scalar(
                    data.decode("utf-8", "backslashreplace"), "str, not UTF-8" if len(data) == length else "str, cut"
                )
        elif "STRING" in name:  # the str of Python 2: bytes, mostly ASCII
            value = data.decode("ascii") if data.isascii() else data
        elif name == "BYTEARRAY8":
            value = Bytes(data, "bytearray")
        if len(data) < length:
            self.stack.append(value)
            raise _Stop("the pickle ends too early")
        return value

    def collapse(self) -> Raw:
        """What stands when the machine had to stop: everything unfinished, put into what it was meant for."""
        levels = [*self.below, self.stack]
        contents = levels.pop()
        while levels:
            outer = levels.pop()
            if not outer or not _extend(outer[-1], contents):
                outer.append(Items(contents, "incomplete"))
            contents = outer
        if len(contents) > 1 and _extend(contents[0], contents[1:]):
            return contents[0]
        return (contents[0] if len(contents) == 1 else Items(contents, "incomplete")) if contents else _NOTHING

    def _pop(self) -> Raw:
        if not self.stack:
            raise _Stop("a broken pickle (nothing on the stack)")
        return self.stack.pop()

    def _top(self) -> Raw:
        if not self.stack:
            raise _Stop("a broken pickle (nothing on the stack)")
        return self.stack[-1]

    def _to_mark(self) -> list[Raw]:
        if not self.below:
            raise _Stop("a broken pickle (no mark)")
        items, self.stack = self.stack, self.below.pop()
        return items

    def _last(self, count: int) -> list[Raw]:
        if len(self.stack) < count:
            raise _Stop("a broken pickle (nothing on the stack)")
        items = self.stack[-count:]
        del self.stack[-count:]
        return items

    # One method for each kind of opcode; ``arg`` is what follows the opcode in the file.

    def proto(self, arg: int) -> None:
        self.protocol = arg

    def skip(self, arg: object) -> None:
        """FRAME, READONLY_BUFFER: nothing to show."""

    def mark(self, arg: object) -> None:
        if len(self.below) >= MAX_MARKS:
            raise _Stop("too many marks")
        self.below.append(self.stack)
        self.stack = []

    def pop(self, arg: object) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self._to_mark()

    def pop_mark(self, arg: object) -> None:
        self._to_mark()

    def dup(self, arg: object) -> None:
        self.stack.append(self._top())

    def put(self, arg: int) -> None:
        self.memo[arg] = self._top()

    def memoize(self, arg: object) -> None:
        self.memo[len(self.memo)] = self._top()

    def get(self, arg: int) -> None:
        if arg not in self.memo:
            raise _Stop(f"a broken pickle (no value {arg} in its memo)")
        self.stack.append(self.memo[arg])

    def append(self, arg: object) -> None:
        target, value = self._last(2)
        _add(target, [value])
        self.stack.append(target)

    def appends(self, arg: object) -> None:
        values = self._to_mark()
        _add(self._top(), values)

    def setitem(self, arg: object) -> None:
        target, key, value = self._last(3)
        _set(target, [key, value])
        self.stack.append(target)

    def setitems(self, arg: object) -> None:
        values = self._to_mark()
        _set(self._top(), values)

    def build(self, arg: object) -> None:
        target, state = self._last(2)
        if isinstance(target, Made):
            target.states.append(state)
        else:
            # An object that Python would give a state, though it is none that we know to have one.
            target = Made(Global("builtins.object"), [target], states=[state])
        self.stack.append(target)

    def global_(self, arg: str) -> None:
        module, _, name = arg.partition(" ")
        self.stack.append(self._named(module, name))

    def stack_global(self, arg: object) -> None:
        module, name = self._last(2)
        self.stack.append(
            self._named(module if isinstance(module, str) else "?", name if isinstance(name, str) else "?")
        )

    def _named(self, module: str, name: str) -> Global:
        if self.protocol < 3:  # Python 2's names: __builtin__, copy_reg
            if (module, name) in _compat_pickle.NAME_MAPPING:
                module, name = _compat_pickle.NAME_MAPPING[(module, name)]
            else:
                module = _compat_pickle.IMPORT_MAPPING.get(module, module)
        return Global(f"{module}.{name}")

    def extension(self, arg: int) -> None:
        self.stack.append(Global(f"extension {arg}"))

    def reduce(self, arg: object) -> None:
        what, args = self._last(2)
        self.stack.append(_call(what, _arguments(args)))

    def newobj(self, arg: object) -> None:
        what, args = self._last(2)
        self.stack.append(Made(what, _arguments(args), new=True))

    def newobj_ex(self, arg: object) -> None:
        what, args, kwargs = self._last(3)
        self.stack.append(Made(what, _arguments(args), kwargs if isinstance(kwargs, Pairs) else None, new=True))

    def inst(self, arg: str) -> None:
        args = self._to_mark()
        module, _, name = arg.partition(" ")
        self.stack.append(Made(self._named(module, name), args))

    def obj(self, arg: object) -> None:
        values = self._to_mark()
        if not values:
            raise _Stop("a broken pickle (an object without class)")
        self.stack.append(Made(values[0], values[1:]))

    def persistent(self, arg: str | None) -> None:
        self.stack.append(Made(Global("persistent id"), [self._pop() if arg is None else arg]))

    def buffer(self, arg: object) -> None:
        self.stack.append(Scalar("a buffer that is not in the pickle", "buffer"))

    def tuple_(self, arg: object) -> None:
        values = self._to_mark()
        self.stack.append(Items(values, "tuple"))

    def list_(self, arg: object) -> None:
        values = self._to_mark()
        self.stack.append(Items(values))

    def dict_(self, arg: object) -> None:
        values = self._to_mark()
        pairs = Pairs()
        _set(pairs, values)
        self.stack.append(pairs)

    def frozenset_(self, arg: object) -> None:
        values = self._to_mark()
        self.stack.append(Items(values, "frozenset"))


def _tuple(count: int) -> Callable[[_Machine, Any], None]:
    def handler(machine: _Machine, arg: object) -> None:
        machine.stack.append(Items(machine._last(count) if count else [], "tuple"))

    return handler


def _push(make: Callable[[], Raw]) -> Callable[[_Machine, Any], None]:
    def handler(machine: _Machine, arg: object) -> None:
        machine.stack.append(make())

    return handler


# How many bytes hold the length of these arguments.
SIZED: Final = {
    "SHORT_BINUNICODE": 1, "BINUNICODE": 4, "BINUNICODE8": 8, "SHORT_BINBYTES": 1, "BINBYTES": 4, "BINBYTES8": 8,
    "SHORT_BINSTRING": 1, "BINSTRING": 4, "BYTEARRAY8": 8,
}  # fmt: skip
HANDLERS: Final[dict[str, Callable[[_Machine, Any], None]]] = {
    "PROTO": _Machine.proto, "FRAME": _Machine.skip, "READONLY_BUFFER": _Machine.skip, "MARK": _Machine.mark,
    "POP": _Machine.pop, "POP_MARK": _Machine.pop_mark, "DUP": _Machine.dup, "PUT": _Machine.put,
    "BINPUT": _Machine.put, "LONG_BINPUT": _Machine.put, "MEMOIZE": _Machine.memoize, "GET": _Machine.get,
    "BINGET": _Machine.get, "LONG_BINGET": _Machine.get, "APPEND": _Machine.append, "APPENDS": _Machine.appends,
    "ADDITEMS": _Machine.appends, "SETITEM": _Machine.setitem, "SETITEMS": _Machine.setitems, "BUILD": _Machine.build,
    "GLOBAL": _Machine.global_, "STACK_GLOBAL": _Machine.stack_global, "EXT1": _Machine.extension, "EXT2": _Machine.extension,
    "EXT4": _Machine.extension, "REDUCE": _Machine.reduce, "NEWOBJ": _Machine.newobj, "NEWOBJ_EX": _Machine.newobj_ex,
    "INST": _Machine.inst, "OBJ": _Machine.obj, "PERSID": _Machine.persistent, "BINPERSID": _Machine.persistent,
    "NEXT_BUFFER": _Machine.buffer, "TUPLE": _Machine.tuple_, "LIST": _Machine.list_, "DICT": _Machine.dict_,
    "FROZENSET": _Machine.frozenset_, "EMPTY_TUPLE": _tuple(0), "TUPLE1": _tuple(1), "TUPLE2": _tuple(2),
    "TUPLE3": _tuple(3), "EMPTY_LIST": _push(Items), "EMPTY_DICT": _push(Pairs),
    "EMPTY_SET": _push(lambda: Items(type="set")),
    "NONE": _push(lambda: None), "NEWTRUE": _push(lambda: True), "NEWFALSE": _push(lambda: False),
}  # fmt: skip

CODES: Final[dict[bytes, tuple[str, Callable[[Any], Any] | None, Callable[[_Machine, Any], None] | None]]] = {
    info.code.encode("latin-1"): (info.name, info.arg.reader if info.arg else None, HANDLERS.get(info.name))
    for info in pickletools.opcodes
}


def _add(target: Raw, values: list[Raw]) -> None:
    if isinstance(target, Items | Made):
        target.values.extend(values)
    elif values:
        raise _Stop("a broken pickle (items for what has none)")


def _set(target: Raw, values: list[Raw]) -> None:
    if not isinstance(target, Pairs | Made):
        raise _Stop("a broken pickle (entries for what has none)")
    target.pairs.extend(zip(values[::2], values[1::2], strict=False))


def _extend(target: Raw, values: list[Raw]) -> bool:
    """Puts loose values into a container that was being filled; False if it is none."""
    if isinstance(target, Pairs):
        _set(target, [*values, elided("cut")] if len(values) % 2 else values)
    elif isinstance(target, Items) and target.type in ("", "set"):
        target.values.extend(values)
    else:
        return False
    return True


def _arguments(raw: Raw) -> list[Raw]:
    return raw.values if isinstance(raw, Items) else [raw]


def _call(what: Raw, args: list[Raw]) -> Raw:
    """What a REDUCE means. The helpers of copyreg stand for the class they make; bytes of old protocols become
    bytes.
    """
    name = name_of(what)
    if name == "copyreg.__newobj__" and args:
        return Made(args[0], args[1:], new=True)
    if name == "copyreg.__newobj_ex__" and len(args) == 3:
        return Made(args[0], _arguments(args[1]), args[2] if isinstance(args[2], Pairs) else None, new=True)
    if name == "copyreg._reconstructor" and len(args) == 3:
        return _reconstructed(args[0], args[2])
    if name in ("_codecs.encode", "builtins.bytes", "builtins.bytearray"):
        octets = _latin(args)
        if octets is not None:
            return Bytes(octets, "bytearray") if name.endswith("bytearray") else octets
    return Made(what, args)


def _reconstructed(what: Raw, value: Raw) -> Made:
    """An object of protocols 0 and 1: the class, and the list, dict, tuple or text that it is one of, or None."""
    match value:
        case None:
            return Made(what, new=True)
        case Items(values, ""):
            return Made(what, values=list(values), new=True)
        case Items(values, "tuple"):
            return Made(what, values, new=True)
        case Pairs(pairs, ""):
            return Made(what, pairs=list(pairs), new=True)
    return Made(what, [value], new=True)


def _latin(args: list[Raw]) -> bytes | None:
    """encode("text", "latin1"), bytes(), bytearray(b"…"), bytearray("text", "latin-1"); None for anything else."""
    match args:
        case []:
            return b""
        case [bytes(octets)]:
            return octets
        case [str(text), "latin1" | "latin-1"]:
            try:
                return text.encode("latin-1")
            except UnicodeEncodeError:
                return None
    return None
