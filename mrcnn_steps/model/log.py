"""The log of a training run: a CSV file and a picture of the losses."""

import csv
from pathlib import Path

from mrcnn_steps.files import write_atomically
from mrcnn_steps.model.reading import say

EVERY = 20


class Log:
    """Means of the losses over every `EVERY` steps.

    Args:
        folder: Where `log.csv` and `loss.png` are written.
        step: Steps done before; later lines of an earlier log are dropped.
    """

    def __init__(self, folder: Path, step: int):
        self.folder = folder
        self.rows = self._read(step) if step else []
        self.pending: list[dict[str, float]] = []

    def _read(self, step: int) -> list[dict[str, float]]:
        """Give the lines up to a step; a damaged log costs the log, not the run."""
        path = self.folder / "log.csv"
        if not path.is_file():
            return []
        try:
            with open(path, newline="", encoding="utf-8") as file:
                rows = [
                    {name: float(value) for name, value in row.items()} | {"step": int(row["step"])}
                    for row in csv.DictReader(file)
                ]
            if not all({"seconds", "lr"} <= row.keys() for row in rows):
                raise ValueError("columns are missing")
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            say(f"{path}: found no log of a run ({error}); a new one is begun")
            return []
        return [row for row in rows if row["step"] <= step]

    def add(self, step: int, seconds: float, lr: float, losses: dict[str, float]) -> None:
        """Note the losses of a step."""
        self.pending.append({"step": step, "seconds": seconds, "lr": lr} | losses)
        if step % EVERY == 0:
            self.close_line()

    def close_line(self) -> None:
        """Make a line of the steps since the last one."""
        if not self.pending:
            return
        last, count = self.pending[-1], len(self.pending)
        means = {name: sum(row[name] for row in self.pending) / count for name in last}
        if self.rows and self.rows[0].keys() != means.keys():
            say(f"{self.folder / 'log.csv'}: has other columns; a new one is begun")
            self.rows = []
        self.rows.append(means | {"step": last["step"], "seconds": last["seconds"]})
        self.pending = []

    @property
    def latest(self) -> dict[str, str]:
        """The newest losses, for a progress bar."""
        row = self.pending[-1] if self.pending else self.rows[-1]
        short = {name.removeprefix("loss_"): value for name, value in row.items()}
        return {n: f"{v:.3g}" for n, v in short.items() if n not in ("step", "seconds")}

    def write(self) -> None:
        """Write both files; steps since the last full line come with the next."""
        if not self.rows:
            return

        def write_csv(path: Path) -> None:
            with open(path, "w", newline="") as file:
                writer = csv.DictWriter(file, list(self.rows[0]))
                writer.writeheader()
                writer.writerows(self.rows)

        write_atomically(self.folder / "log.csv", write_csv)
        write_atomically(self.folder / "loss.png", self._plot)

    def _plot(self, path: Path) -> None:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.subplots()
        steps = [row["step"] for row in self.rows]
        for name in self.rows[0]:
            if name.startswith("loss_"):
                label = name.removeprefix("loss_").replace("_", " ")
                axes.plot(steps, [row[name] for row in self.rows], label=label)
        axes.set(xlabel="step", ylabel="loss", yscale="log")
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(path, format="png", dpi=120)
