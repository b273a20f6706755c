"""The fork server `cdisim serve`: one for each process, started when it is first needed, gone when the process is.

The caller is never forked. A run is a socket of its own: closing it ends the run.
"""

import atexit
import os
import socket
import struct
import subprocess
import threading
from typing import Optional

from cdisim.program import program

_HEAD = struct.Struct("<I")


class Connection:
    """One end of a stream socket; a message is its length (4 bytes, least first) and that many bytes."""

    def __init__(self, end: socket.socket):
        self._socket = end
        self._received = bytearray()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, message: bytes) -> None:
        """Raises OSError where the other end is closed."""
        self._socket.sendall(_HEAD.pack(len(message)) + message)

    def receive(self) -> list[bytes]:
        """Waits until something has come; the messages that are there as a whole. Raises EOFError at the end."""
        data = self._socket.recv(1 << 20)
        if not data:
            raise EOFError
        self._received += data
        messages, at = [], 0
        while len(self._received) >= at + _HEAD.size:
            end = at + _HEAD.size + _HEAD.unpack_from(self._received, at)[0]
            if len(self._received) < end:
                break
            messages.append(bytes(self._received[at + _HEAD.size:end]))
            at = end
        del self._received[:at]
        return messages

    def receive_one(self) -> bytes:
        """Waits for a message of which no other follows at once. Raises EOFError at the end."""
        messages = self.receive()
        while not messages:
            messages = self.receive()
        return messages[0]

    def close(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_RDWR)  # also where a fork of this process holds a copy
        except OSError:
            pass
        self._socket.close()


class Server:
    """Starts runs in processes of the program."""

    def __init__(self, path: str):
        self.path = path
        ours, theirs = socket.socketpair()
        with theirs:
            # A session of its own: Ctrl-C in a terminal is for the caller, who then ends its run.
            self._process = subprocess.Popen([path, "serve"], stdin=theirs, stdout=subprocess.DEVNULL,
                                             start_new_session=True)
        self._socket = ours

    @property
    def pid(self) -> int:
        return self._process.pid

    def start(self, request: bytes) -> tuple[Connection, socket.socket]:
        """Returns the run's connection and the socket on which its simulations hand in theirs."""
        ours, theirs = socket.socketpair()
        desk, their_desk = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs, their_desk:
                socket.send_fds(self._socket, [b"r"], [theirs.fileno(), their_desk.fileno()])
            connection = Connection(ours)
            connection.send(request)
        except BaseException:
            ours.close()
            desk.close()
            raise
        return connection, desk

    def stop(self) -> None:
        """Ends the server and all of its runs."""
        self._socket.close()
        self._process.wait()

    def forget(self) -> None:
        """In a fork of the caller, whose server it is not."""
        self._socket.close()
        self._process.returncode = 0  # not a child of this process: nothing to wait for


_server: Optional[Server] = None
_lock = threading.Lock()


def start_run(request: bytes) -> tuple[Connection, socket.socket]:
    """Server.start() on the process's server."""
    global _server
    with _lock:
        path = program()
        if _server is not None and _server.path != path:
            _server.stop()
            _server = None
        if _server is not None:
            try:
                return _server.start(request)
            except OSError:  # somebody killed it
                _server.stop()
        _server = Server(path)
        return _server.start(request)


def server_pid() -> Optional[int]:
    """Process id of the server, where there is one."""
    return _server.pid if _server is not None else None


def stop() -> None:
    """Ends the process's server and its runs; the next run starts another one."""
    global _server
    with _lock:
        if _server is not None:
            _server.stop()
        _server = None


def _after_fork() -> None:
    global _server, _lock
    _lock = threading.Lock()
    if _server is not None:
        _server.forget()
    _server = None


atexit.register(stop)
os.register_at_fork(after_in_child=_after_fork)
