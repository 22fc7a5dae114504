"""What is shown: figures only beside their ratio, and what was asked for beside what was found."""

import statistics
from dataclasses import dataclass, field

median = statistics.median


@dataclass
class Claim:
    """`value` is a ratio, or a figure that has a bound of its own."""

    text: str
    value: float
    sense: str  # ">=" or "<="
    bound: float
    goal: float = None
    unit: str = ""

    def met(self):
        return self.value >= self.bound if self.sense == ">=" else self.value <= self.bound

    def verdict(self):
        if self.met():
            return "met"
        if not self.bound:
            return "missed"
        return f"missed by {abs(self.value - self.bound) / self.bound:.0%}"

    def show(self, number):
        return f"{number:.3g}{self.unit}" if abs(number) < 1000 else f"{number:,.0f}{self.unit}"

    def asked(self):
        goal = f" (goal {self.show(self.goal)})" if self.goal is not None else ""
        return f"{'≥' if self.sense == '>=' else '≤'} {self.show(self.bound)}{goal}"


@dataclass
class Result:
    row: str
    work: str
    rounds: int
    table: list = field(default_factory=list)  # (who, what, ratio)
    claims: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    def compare(self, runs, unit=None, count=None, gib=None):
        """`runs`: {name: [Run]}, autodl's among them. The ratio is time / autodl's time."""
        ours = median(run.seconds for run in runs["autodl"])
        for name, of_one in runs.items():
            seconds = [run.seconds for run in of_one]
            text = f"{median(seconds):.3g} s ({min(seconds):.3g}–{max(seconds):.3g})"
            if unit:
                text += f", {count / median(seconds):,.0f} {unit}"
            cpu = median(run.cpu for run in of_one)
            if count:
                text += f", {cpu / count * 1000:.2f} ms CPU each"
            if gib:
                text += f", {cpu / gib:.2f} CPU s/GiB"
            text += f", {median(run.rss for run in of_one) / (1 << 20):.0f} MiB"
            if len(of_one) < self.rounds:
                text += f" [{len(of_one)} round{'s' if len(of_one) > 1 else ''}]"
            self.table.append((name, text, f"{median(seconds) / ours:.2f}"))

    def claim(self, *arguments, **options):
        self.claims.append(Claim(*arguments, **options))

    def print(self):
        rounds = f"median of {self.rounds} interleaved rounds" if self.rounds > 1 else "1 round"
        print(f"\n{self.row}: {self.work} ({rounds})")
        for who, what, ratio in self.table:
            print(f"    {who:<16} x {ratio:<7} {what}")
        for claim in self.claims:
            print(f"  > {claim.text}: {claim.show(claim.value)}, asked {claim.asked()}:"
                  f" {claim.verdict()}")
        for note in self.notes:
            print(f"    {note}")
        print(flush=True)

    def markdown(self):
        """Lines of the table in RESULTS.md."""
        who = "; ".join(f"{who} ×{ratio} ({what})" for who, what, ratio in self.table)
        lines = []
        for claim in self.claims:
            verdict = claim.verdict() if claim.met() else f"**{claim.verdict()}**"
            lines.append(f"| {self.row} | {claim.text} | {claim.show(claim.value)} |"
                         f" {claim.asked()} | {verdict} |\n")
        return lines, f"- **{self.row}**, {self.work}: {who}." + "".join(
            f" {note}" for note in self.notes) + "\n"
