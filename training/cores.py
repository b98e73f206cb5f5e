"""How JAX uses this machine: imported before JAX by what computes for long."""

from __future__ import annotations

import ctypes
import os

CORES = min(2, os.cpu_count() or 1)
"""Devices that share a batch. The number is part of a run's result: sums of gradients follow it."""

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
"""Names of glibc's `malloc.h`."""


def keep_memory() -> None:
    """Lets the allocator keep what it has.

    A step needs tens of megabytes for each large array. As it comes, glibc maps them anew every time,
    and faulting the pages in takes longer than the arithmetic on them.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return  # Another C library: slower, nothing else.
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(M_TOP_PAD, 64 << 20)
    mallopt(M_ARENA_MAX, 1)


# Each core computes its own rows as a device of its own, so that operations which the compiler does
# not split over threads use both cores too; and no product waits for the other core.
os.environ.setdefault(
    "XLA_FLAGS",
    f"--xla_force_host_platform_device_count={CORES} --xla_cpu_multi_thread_eigen=false",
)
keep_memory()
