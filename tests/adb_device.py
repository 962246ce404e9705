"""An Android phone as far as adb can tell: adb's own server connects to it over TCP, and its shell is this machine's.

It speaks the transport protocol of adbd, without encryption, and the services `shell:` and `sync:` on it:
https://android.googlesource.com/platform/packages/modules/adb/+/refs/heads/main/docs/dev/protocol.md
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import struct
import subprocess
import threading
from pathlib import Path

_VERSION, _MOST = 0x01000001, 64 * 1024


class Device:
    """A phone with `root` as its /data/local/tmp; programs in `root / "bin"` are those of its system."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "bin").mkdir()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._links: list[_Link] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def program(self, name: str, script: str) -> None:
        """Put a program into the phone's system."""
        path = self.root / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def unplug(self) -> None:
        """Pull the cable."""
        self._listener.close()
        for link in self._links:
            link.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                link = _Link(self._listener.accept()[0], self)
                self._links.append(link)
                threading.Thread(target=link.serve, daemon=True).start()


class _Link:
    """The connection to adb's server, with many streams in it."""

    def __init__(self, connection: socket.socket, device: Device) -> None:
        self._connection, self.device = connection, device
        self._lock, self._streams, self._count = threading.Lock(), dict[int, _Stream](), 0

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def send(self, command: bytes, first: int, second: int, data: bytes = b"") -> None:
        magic = struct.unpack("<I", command)[0] ^ 0xFFFFFFFF
        with self._lock, contextlib.suppress(OSError):
            self._connection.sendall(struct.pack("<4s5I", command, first, second, len(data), sum(data), magic) + data)

    def serve(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                command, first, second, length, _, _ = struct.unpack("<4s5I", self._read(24))
                data = self._read(length)
                if command == b"CNXN":
                    self.send(b"CNXN", _VERSION, _MOST, b"device::ro.product.name=test;features=")
                elif command == b"OPEN":
                    self._count += 1
                    self._streams[self._count] = _Stream(self, self._count, first, data.rstrip(b"\0").decode())
                elif second in self._streams:
                    self._streams[second].take(command, data)

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            chunk = self._connection.recv(length - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return data


class _Stream:
    """One service: a shell command, or a copy of files."""

    def __init__(self, link: _Link, here: int, there: int, service: str) -> None:
        self._link, self._here, self._there = link, here, there
        self._input, self._taken = queue.Queue[bytes](), threading.Semaphore(1)
        self._rest = b""
        link.send(b"OKAY", here, there)
        kind, _, argument = service.partition(":")
        work = (lambda: self._shell(argument)) if kind.startswith("shell") else self._sync
        threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def take(self, command: bytes, data: bytes) -> None:
        """What came from the other side."""
        if command == b"WRTE":
            self._input.put(data)
            self._link.send(b"OKAY", self._here, self._there)
        elif command == b"OKAY":
            self._taken.release()
        else:
            self._input.put(b"")

    def _run(self, work: object) -> None:
        with contextlib.suppress(EOFError):
            work()  # type: ignore[operator]
        self._link.send(b"CLSE", self._here, self._there)

    def _write(self, data: bytes) -> None:
        for begin in range(0, len(data), _MOST):
            self._taken.acquire()
            self._link.send(b"WRTE", self._here, self._there, data[begin : begin + _MOST])

    def _read(self, length: int) -> bytes:
        while len(self._rest) < length:
            chunk = self._input.get()
            if not chunk:
                raise EOFError
            self._rest += chunk
        data, self._rest = self._rest[:length], self._rest[length:]
        return data

    def _shell(self, command: str) -> None:
        root = self._link.device.root
        environment = {"PATH": f"{root / 'bin'}:{os.defpath}", "HOME": str(root)}
        local = command.replace("/data/local/tmp", str(root))
        done = subprocess.run(["sh", "-c", local], capture_output=True, env=environment, check=False)
        self._write(done.stdout + done.stderr)

    def _sync(self) -> None:
        while True:
            command, length = struct.unpack("<4sI", self._read(8))
            path = self._read(length).decode()
            if command == b"STAT":
                self._stat(path)
            elif command == b"SEND":
                self._receive(path)
            else:
                raise EOFError

    def _stat(self, path: str) -> None:
        try:
            found = self._local(path).stat()
            numbers = (found.st_mode, found.st_size, int(found.st_mtime))
        except FileNotFoundError:
            numbers = (0, 0, 0)
        self._write(struct.pack("<4s3I", b"STAT", *numbers))

    def _receive(self, path: str) -> None:
        name, _, mode = path.rpartition(",")
        with self._local(name).open("wb") as file:
            while True:
                command, length = struct.unpack("<4sI", self._read(8))
                if command == b"DONE":
                    break
                file.write(self._read(length))
        self._local(name).chmod(int(mode) & 0o777)
        self._write(struct.pack("<4sI", b"OKAY", 0))

    def _local(self, path: str) -> Path:
        return Path(path.replace("/data/local/tmp", str(self._link.device.root)))
