"""What was measured: cells, the medians of their metrics, and the file that keeps them."""

import csv
import statistics
from dataclasses import astuple, dataclass, fields

K, M = 1000, 1000 * 1000


@dataclass(frozen=True)
class Cell:
    """One workload at one size, in the order of the programs' arguments."""

    workload: str
    connections: int
    threads: int = 1
    headers: str = "cold"
    family: str = "ipv4"
    transport: str = "tcp"
    nat: str = "plain"

    def arguments(self):
        return [str(value) for value in astuple(self)]


CELL = [field.name for field in fields(Cell)]
COLUMNS = ["engine", *CELL, "metric", "median", "least", "most", "rounds"]


def size(n):
    return f"{n // M}M" if n >= M else f"{n // K}k"


def quotient(a, b):
    return a / b if a is not None and b else None


class Medians:
    """The medians of a run, asked for by what the cell is."""

    def __init__(self, values):
        self._values = values

    def get(self, engine, workload, connections, metric, **cell):
        """The median, or None when it was not measured."""
        return self._values.get((engine, Cell(workload, connections, **cell), metric))

    def sizes(self, engine, workload, metric, **cell):
        """Pairs of connections and median, of all sizes that were measured."""
        return sorted((of.connections, value)
                      for (name, of, what), value in self._values.items()
                      if name == engine and what == metric
                      and of == Cell(workload, of.connections, **cell))


def medians_of(samples):
    """Samples are lists of values by (engine, cell, metric)."""
    return Medians({key: statistics.median(values) for key, values in samples.items()})


def write(file, samples):
    out = csv.writer(file, lineterminator="\n")
    out.writerow(COLUMNS)
    for (engine, cell, metric), values in samples.items():
        out.writerow([engine, *cell.arguments(), metric, f"{statistics.median(values):.3f}",
                      f"{min(values):.3f}", f"{max(values):.3f}", len(values)])


def read(path):
    """The medians that write() left, and the rounds that they are of."""
    values = {}
    rounds = 0
    with open(path) as file:
        for row in csv.DictReader(file):
            numbers = {"connections": int(row["connections"]), "threads": int(row["threads"])}
            cell = Cell(**{name: numbers.get(name, row[name]) for name in CELL})
            values[row["engine"], cell, row["metric"]] = float(row["median"])
            rounds = max(rounds, int(row["rounds"]))
    return Medians(values), rounds
