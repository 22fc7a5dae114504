#!/usr/bin/env python3
"""autodl beside what else downloads, on this machine, over loopback.

Figures drift by a factor of two from run to run of one machine, and more between machines; so all
contestants take turns in one run, and what counts is the ratio. Each row says what was asked of
autodl, and whether it was met."""

import argparse
import os
import shutil
import sys
import tempfile

import contestants
import origins
import processes
import rows_files
import rows_kill
import rows_queue
import rows_ranges

ROWS = {
    "W1": rows_files.w1,
    "W1L": rows_files.w1l,
    "W2": rows_files.w2,
    "W3": rows_files.w3,
    "W4": rows_ranges.w4,
    "W5": rows_ranges.w5,
    "W6": rows_queue.w6,
    "W6Q": rows_queue.w6q,
    "W7": rows_queue.w7,
    "W8": rows_files.w8,
    "million": rows_queue.million,
    "users": rows_queue.users,
    "idle": rows_queue.idle,
    "kill-adds": rows_kill.adds,
    "kill-part": rows_kill.part,
    "kill-small": rows_kill.small,
}


class Place:
    """Where a run takes place, and how long it may take."""

    def __init__(self, options):
        self.short, self.asked_rounds, self.keep = options.short, options.rounds, options.keep
        self.dir = tempfile.mkdtemp(prefix="autodl-bench-", dir=options.dir)
        os.chmod(self.dir, 0o755)
        self.bin = f"{self.dir}/bin"
        os.mkdir(self.bin)
        shutil.copy(options.service, f"{self.bin}/autodl-service")  # where nobody can run it
        self.service = f"{self.bin}/autodl-service"
        self.nginx = origins.Nginx(self.dir)
        self.many = 100000 if self.short else 1000000  # tasks that wait
        self.filled = {}
        self.made = 0

    def rounds(self, usual, short):
        return self.asked_rounds or (short if self.short else usual)

    def if_short(self, *names):
        return set(names) if self.short else set()

    def new_directory(self, name):
        self.made += 1
        return processes.make_directory(f"{self.dir}/runs/{self.made:03}-{name}")

    def source(self, url):
        """The file behind a URL."""
        path = url.split("/", 3)[3]
        while not os.path.exists(f"{self.nginx.www}/{path}"):
            path = path.split("/", 1)[1]
        return f"{self.nginx.www}/{path}"

    def sweep(self):
        """After a row, never within."""
        if not self.keep:
            shutil.rmtree(f"{self.dir}/work", ignore_errors=True)

    def remove(self):
        processes.end_all()
        if self.keep:
            print(f"kept: {self.dir}", file=sys.stderr)
        else:
            shutil.rmtree(self.dir, ignore_errors=True)


def parse():
    listed = "\n".join(f"  {name:<11} {row.__doc__}" for name, row in ROWS.items())
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"rows:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help="which (all)")
    parser.add_argument("--short", action="store_true", help="less of everything: 5 minutes")
    parser.add_argument("--rounds", type=int, metavar="N", help="how many times each takes its turn")
    parser.add_argument("--service", default="./autodl-service", metavar="FILE",
                        help="the program that was built (./autodl-service)")
    parser.add_argument("--dir", default=os.environ.get("TMPDIR", "/var/tmp"), metavar="DIR",
                        help="on the disk to measure on ($TMPDIR, else /var/tmp); about 20 GiB,"
                        " 5 for --short")
    parser.add_argument("--markdown", metavar="FILE", help="appends the tables for RESULTS.md")
    parser.add_argument("--keep", action="store_true", help="remove nothing")
    options = parser.parse_args()
    for row in options.rows:
        if row not in ROWS:
            parser.error(f"there is no row {row}")
    if not os.access(options.service, os.X_OK):
        parser.error(f"{options.service} is not there: build it (make), or name it with --service")
    if not origins.find("nginx"):
        parser.error("nginx is needed: apt-get install nginx-light (and aria2 curl wget2)")
    return options


def write(results, path):
    parts = [result.markdown() for result in results]
    with open(path, "a") as file:
        file.write("| row | what | found | asked | |\n|---|---|---|---|---|\n")
        file.writelines(line for lines, _ in parts for line in lines)
        file.write("\n")
        file.writelines(text for _, text in parts)


def main():
    options = parse()
    processes.end_on_signals()
    place = Place(options)
    results, broken = [], False
    try:
        for name in options.rows or ROWS:
            try:
                result = ROWS[name](place)
                result.print()
                results.append(result)
            except contestants.Failed as error:
                broken = True
                print(f"\n{name}: {error}\n", flush=True)
            place.sweep()
    finally:
        place.remove()
        if options.markdown:
            write(results, options.markdown)
    claims = [claim for result in results for claim in result.claims]
    print(f"{sum(claim.met() for claim in claims)} of {len(claims)} met."
          " x: that contestant's time as a multiple of autodl's.")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
