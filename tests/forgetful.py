"""A disk that forgets what wasn't synced: a file layer (VFS) of SQLite that records what reaches it.

    layer = Layer.registered()
    disk = layer.record(folder)               # SqliteLog(folder / "log.db", vfs=NAME) writes through the layer
    disk.rebuild(target, 17, Random(1))       # the files as a power cut behind the 17th change might leave them

What is assumed of the disk, and of the file system on it:

- A sync keeps what was written to that file, and nothing else. It counts when it is asked for in full
  (SQLITE_SYNC_FULL): macOS leaves what it is told otherwise in the drive's own memory.
- Of what was written since, each write is there, or isn't, or some of its sectors of 512 bytes are, in any order; a
  sector has its old or its new bytes, and no write touches bytes beside its own ("powersafe overwrite"). So it is with
  changes of a file's length.
- A name that was made or deleted stays so when its folder is synced: SQLite does it on Unix with the first sync of
  each journal that it has opened, and with a deletion that says so. Until then any of the states since may be found.
- `-shm` is no file to rely on: after a cut it holds garbage, or isn't there.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, ClassVar

__all__ = ["HOW", "NAME", "Disk", "Layer"]

NAME = "forgetful"
HOW = (
    "SQLite's library can't be reached with ctypes: run this with a Python whose sqlite3 module is linked with a "
    "shared libsqlite3, as those of Debian, Homebrew and pyenv (with libsqlite3-dev installed) are."
)

_SECTOR = 512
_MAIN, _JOURNAL, _WAL, _CREATE = 0x100, 0x800, 0x80000, 0x4
_FULL = 3
_POINTER = ctypes.c_void_p
_OPEN = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, _POINTER, _POINTER, ctypes.c_int, _POINTER)
_DELETE = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, _POINTER, ctypes.c_int)
_WRITE = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, _POINTER, ctypes.c_int, ctypes.c_int64)
_TRUNCATE = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, ctypes.c_int64)
_SYNC = ctypes.CFUNCTYPE(ctypes.c_int, _POINTER, ctypes.c_int)


@dataclass(frozen=True)
class Write:
    """Bytes that were written to a file."""

    file: int
    offset: int
    data: bytes

    def on(self, content: bytearray) -> None:
        """Change what the file holds."""
        content.extend(bytes(max(0, self.offset - len(content))))
        content[self.offset : self.offset + len(self.data)] = self.data

    def sectors(self) -> Iterator[Write]:
        """Yield the part of it in each sector."""
        start, end = self.offset, self.offset + len(self.data)
        while start < end:
            stop = min(end, (start // _SECTOR + 1) * _SECTOR)
            yield Write(self.file, start, self.data[start - self.offset : stop - self.offset])
            start = stop


@dataclass(frozen=True)
class Truncate:
    """A file that was cut to a length."""

    file: int
    size: int

    def on(self, content: bytearray) -> None:
        """Change what the file holds."""
        del content[self.size :]


@dataclass(frozen=True)
class Sync:
    """A file that was synced, with its folder or without."""

    file: int
    folder: bool


@dataclass(frozen=True)
class Name:
    """A name that was given to a file, or taken away (None), and whether the folder was synced with it."""

    name: str
    file: int | None
    folder: bool = False


Change = Write | Truncate | Sync | Name


class Disk:
    """What was done to the files of a folder, in order: `changes`. What they held before counts as synced."""

    folders = True
    """Whether a sync of a folder keeps anything."""

    def __init__(self, folder: Path) -> None:
        self.changes: list[Change] = []
        self._before = {path.name: path.read_bytes() for path in folder.iterdir() if path.name.endswith(_KEPT)}
        self._names: dict[str, int] = {name: number for number, name in enumerate(self._before)}
        self._files = len(self._names)
        self._handles: dict[int, int] = {}
        self._fresh: set[int] = set()

    def opened(self, handle: int, name: str, flags: int) -> None:
        """Note that a file was opened, and made if it wasn't there."""
        if name not in self._names:
            self._names[name], self._files = self._files, self._files + 1
            self.changes.append(Name(name, self._names[name]))
        self._handles[handle] = self._names[name]
        self._fresh.discard(handle)
        if flags & (_JOURNAL | _WAL) and flags & _CREATE:
            self._fresh.add(handle)

    def deleted(self, name: str, folder: bool) -> None:
        """Note that a file was deleted."""
        if self._names.pop(name, None) is not None:
            self.changes.append(Name(name, None, folder))

    def written(self, handle: int, offset: int, data: bytes) -> None:
        """Note that bytes were written."""
        self.changes.append(Write(self._handles[handle], offset, data))

    def truncated(self, handle: int, size: int) -> None:
        """Note that a file was cut to a length."""
        self.changes.append(Truncate(self._handles[handle], size))

    def synced(self, handle: int) -> None:
        """Note that a file was synced; with its folder when it is the first time for a journal."""
        self.changes.append(Sync(self._handles[handle], handle in self._fresh))
        self._fresh.discard(handle)

    def rebuild(self, folder: Path, cut: int, random: Random) -> None:
        """Write the files as they might be after a power cut behind so many changes."""
        left = _Left(self._before, self.folders)
        for change in self.changes[:cut]:
            left.add(change)
        for name, content in left.files(random):
            (folder / name).write_bytes(content)


_KEPT = (".db", "-wal", "-journal")


class _Left:
    """What is on the disk for good, and what may be."""

    def __init__(self, before: dict[str, bytes], folders: bool) -> None:
        self._folders = folders
        self._synced = dict(enumerate(before.values()))
        self._unsynced: dict[int, list[Write | Truncate]] = {}
        self._names: dict[str, list[int | None]] = {name: [number] for number, name in enumerate(before)}

    def add(self, change: Change) -> None:
        """Take one change into account."""
        if isinstance(change, Name):
            self._names.setdefault(change.name, [None]).append(change.file)
        elif isinstance(change, Sync):
            self._synced[change.file] = bytes(self._content(change.file, lambda part: [part]))
            self._unsynced.pop(change.file, None)
        else:
            self._unsynced.setdefault(change.file, []).append(change)
        if isinstance(change, Name | Sync) and change.folder and self._folders:
            self._names = {name: states[-1:] for name, states in self._names.items()}

    def files(self, random: Random) -> Iterator[tuple[str, bytes]]:
        """Yield name and content of each file that is found after a cut."""
        luck = random.choice((0, 0.1, 0.5, 0.9, 1))

        def parts(change: Write | Truncate) -> list[Write | Truncate]:
            pieces = [change]
            if isinstance(change, Write) and random.random() < 0.3:
                pieces = list(change.sectors())
            return [piece for piece in pieces if random.random() < luck]

        for name, states in self._names.items():
            file = states[-1] if random.random() < luck else random.choice(states[:-1] or states)
            if file is not None:
                yield name, bytes(self._content(file, parts))
            if random.random() < 0.5 and name.endswith(".db"):
                yield f"{name}-shm", random.randbytes(32_768)

    def _content(self, file: int, parts: Callable[[Write | Truncate], list[Any]]) -> bytearray:
        content = bytearray(self._synced.get(file, b""))
        for change in self._unsynced.get(file, ()):
            for part in parts(change):
                part.on(content)
        return content


class _Methods(ctypes.Structure):
    """sqlite3_io_methods, version 3; what isn't used goes without a name."""

    _fields_: ClassVar[Any] = [
        ("version", ctypes.c_int),
        ("close_read", _POINTER * 2),
        ("write", _POINTER),
        ("truncate", _POINTER),
        ("sync", _POINTER),
        ("others", _POINTER * 13),
    ]


class _File(ctypes.Structure):
    """sqlite3_file, as far as it is known."""

    _fields_: ClassVar[Any] = [("methods", _POINTER)]


class _Vfs(ctypes.Structure):
    """sqlite3_vfs, version 3."""

    _fields_: ClassVar[Any] = [
        ("version", ctypes.c_int),
        ("file_size", ctypes.c_int),
        ("longest_path", ctypes.c_int),
        ("next", _POINTER),
        ("name", ctypes.c_char_p),
        ("data", _POINTER),
        ("open", _POINTER),
        ("delete", _POINTER),
        ("others", _POINTER * 14),
    ]


class Layer:
    """The default VFS under another name: it tells a `Disk` what is changed, and leaves out syncs, which take time."""

    _only: ClassVar[Layer | None] = None

    @classmethod
    def registered(cls) -> Layer | None:
        """Return the one of this process; None where it can't be had (`HOW` tells why)."""
        if cls._only is None:
            libraries = filter(None, map(_loaded, _places()))
            cls._only = next((layer for layer in map(cls, libraries) if layer.works()), None)
        return cls._only

    def __init__(self, library: ctypes.CDLL) -> None:
        library.sqlite3_vfs_find.restype = _POINTER
        self._disk: Disk | None = None
        self._address = library.sqlite3_vfs_find(None)
        self._default = _Vfs.from_address(self._address)
        self._vfs = _Vfs.from_buffer_copy(self._default)
        self._patched: dict[int, _Methods] = {}
        # What SQLite calls has to live on: nothing here is ever unregistered.
        self._functions = [_OPEN(self._open), _DELETE(self._delete)]
        self._vfs.name = NAME.encode()
        self._vfs.open, self._vfs.delete = map(_address_of, self._functions)
        library.sqlite3_vfs_register(ctypes.byref(self._vfs), 0)

    def works(self) -> bool:
        """Return whether it is Python's SQLite that knows it, and not another copy of the library."""
        try:
            sqlite3.connect(f"file::memory:?vfs={NAME}", uri=True).close()
        except sqlite3.OperationalError:
            return False
        return True

    def record(self, folder: Path) -> Disk:
        """Return the disk that is told from now on what is done in a folder."""
        self._disk = Disk(folder)
        return self._disk

    @property
    def disk(self) -> Disk:
        """The disk that is told at present."""
        assert self._disk is not None, "nothing is recorded"
        return self._disk

    def _open(self, _: int, name: int | None, handle: int, flags: int, out: int | None) -> int:
        result = int(_OPEN(self._default.open)(self._address, name, handle, flags, out))
        if result == 0 and name is not None and flags & (_MAIN | _JOURNAL | _WAL):
            self.disk.opened(handle, _name_at(name), flags)
            file = _File.from_address(handle)
            if file.methods not in self._patched:
                self._patched[file.methods] = self._methods(file.methods)
            file.methods = ctypes.addressof(self._patched[file.methods])
        return result

    def _delete(self, _: int, name: int, folder: int) -> int:
        result = int(_DELETE(self._default.delete)(self._address, name, folder))
        if result == 0:
            self.disk.deleted(_name_at(name), bool(folder))
        return result

    def _methods(self, address: int) -> _Methods:
        """Return a copy of a file's methods that tells the disk what is done."""
        methods = _Methods.from_buffer_copy(_Methods.from_address(address))
        write, truncate = _WRITE(methods.write), _TRUNCATE(methods.truncate)

        def written(handle: int, data: int, size: int, offset: int) -> int:
            self.disk.written(handle, offset, ctypes.string_at(data, size))
            return int(write(handle, data, size, offset))

        def truncated(handle: int, size: int) -> int:
            self.disk.truncated(handle, size)
            return int(truncate(handle, size))

        def synced(handle: int, flags: int) -> int:
            if flags & 0xF == _FULL:
                self.disk.synced(handle)
            return 0

        functions = [_WRITE(written), _TRUNCATE(truncated), _SYNC(synced)]
        self._functions += functions
        methods.write, methods.truncate, methods.sync = map(_address_of, functions)
        return methods


def _address_of(function: Any) -> int | None:
    return ctypes.cast(function, _POINTER).value


def _name_at(address: int) -> str:
    return Path(ctypes.string_at(address).decode()).name


def _places() -> Iterator[str | None]:
    """Yield where the library may be: linked to Python's module or into Python itself, beside it, in the system."""
    import _sqlite3

    yield getattr(_sqlite3, "__file__", None)
    yield str(Path(sys.base_prefix) / "DLLs" / "sqlite3.dll")
    if found := ctypes.util.find_library("sqlite3"):
        yield found


def _loaded(place: str | None) -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL(place)
        return library if library.sqlite3_vfs_find and library.sqlite3_vfs_register else None
    except (OSError, AttributeError, TypeError):
        return None
