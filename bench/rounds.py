"""Rounds in which all contestants take their turn: what the machine does meanwhile hits all."""

import mmap
import os
import random
import shutil
import sys
import time

from contestants import Failed

REST = 6  # seconds: after a large file is deleted, ext4 is slow at creating for as long


def check(jobs, directory, source):
    """The files are there, each as long as its source; a sample has its content."""
    names = os.listdir(directory)
    if len(names) != len(jobs):
        raise Failed(f"{len(names)} files of {len(jobs)} are in {directory}")
    for url, name in jobs:
        size = os.path.getsize(source(url))
        if os.path.getsize(f"{directory}/{name}") != size:
            raise Failed(f"{directory}/{name} does not have {size} bytes")
    for url, name in random.sample(jobs, min(20, len(jobs))):
        with open(source(url), "rb") as one, open(f"{directory}/{name}", "rb") as other:
            while piece := one.read(1 << 20):
                if other.read(1 << 20) != piece:
                    raise Failed(f"{directory}/{name} has other bytes than {url}")


def warm_memory(size):
    """A virtual machine may have given its free memory back: its host then takes 10 µs and more for
    each page that is used again, three times what copying a file costs. Huge pages bring it fast,
    and what is free for a moment is what the page cache takes next."""
    with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        for at in range(0, size, mmap.PAGESIZE):
            memory[at] = 1


def interleave(place, row, contestants, jobs, rounds, source=None, once=(), large=False):
    """-> {name: [Run]}. Contestants in `once` take part in the first round only. Files stay until
    the row is over, since deleting slows down who comes next; but `large` ones."""
    source = source or place.source
    runs = {}
    for contestant in list(contestants):
        why = contestant.missing()
        if why:
            print(f"{row}: without {contestant.name}: {why}", file=sys.stderr)
            contestants.remove(contestant)
    for number in range(rounds):
        # Not in turns: who always comes behind the same one inherits what that leaves to the disk.
        for contestant in random.sample(contestants, len(contestants)):
            if number and contestant.name in once:
                continue
            directory = place.new_directory(f"{row}-{number}-{contestant.name.split()[0]}")
            os.sync()
            if large:
                warm_memory(sum(os.path.getsize(source(url)) for url, _ in jobs) * 5 // 4)
            run = contestant.run(jobs, directory)
            check(jobs, directory, source)
            runs.setdefault(contestant.name, []).append(run)
            print(f"{row} round {number + 1}/{rounds}: {contestant.name} {run.seconds:.3f} s",
                  file=sys.stderr, flush=True)
            if large:
                shutil.rmtree(directory)
                os.sync()
    if large:
        time.sleep(REST)
    order = [contestant.name for contestant in contestants]
    return {name: runs[name] for name in order}
