"""Connections of another process, cut as a network would: both ends find out by themselves, and nothing else ends."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import stat
from collections.abc import Collection
from typing import Final

import psutil

_PIDFD_GETFD: Final = 438
"""The system call of that name, the same number on every architecture (Linux 5.6)."""


def cut(pid: int, ports: Collection[int]) -> int:
    """Shuts every TCP connection of a process of ours to one of these ports; returns how many there were.

    Raises PermissionError where the kernel forbids us to reach into our own children.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    count = 0
    process = os.pidfd_open(pid)
    try:
        for one in psutil.Process(pid).net_connections("tcp"):
            if not one.raddr or one.raddr.port not in ports:
                continue
            copy = libc.syscall(_PIDFD_GETFD, process, one.fd, 0)
            if copy < 0:
                error = ctypes.get_errno()
                if error == errno.EBADF:  # the process closed it meanwhile
                    continue
                raise OSError(error, f"{os.strerror(error)}: file {one.fd} of process {pid}")
            count += _shut(copy, ports)
    finally:
        os.close(process)
    return count


def _shut(file: int, ports: Collection[int]) -> bool:
    """Whether a descriptor of ours, closed here, was still a connection to one of these ports, and has been shut.

    Its owner may have closed the connection after it was listed, and opened something else under the same number.
    """
    if not stat.S_ISSOCK(os.fstat(file).st_mode):
        os.close(file)
        return False
    with socket.socket(fileno=file) as connection:
        try:
            if connection.family not in (socket.AF_INET, socket.AF_INET6) or connection.getpeername()[1] not in ports:
                return False
            connection.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            if error.errno == errno.ENOTCONN:
                return False
            raise
    return True
