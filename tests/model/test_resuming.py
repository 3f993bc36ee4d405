"""`--resume` reads the last checkpoint without trusting it: other classes, missing parts."""

import copy
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mrcnn_steps.cli import main
from mrcnn_steps.model.log import Log
from mrcnn_steps.model.reading import CheckpointWarning
from mrcnn_steps.model.resuming import read_state
from mrcnn_steps.model.run import Run, resume
from mrcnn_steps.model.schedule import Average
from tests.model.runs import command, write_data
from tests.model.test_readiness import change

NAMES = ("background", "nut", "bolt")
SETTINGS = {"seed": 0, "lr": 0.1}


class Model(nn.Module):
    """The smallest thing that can be resumed."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 3)
        self.class_names = NAMES


def small_run(steps: int) -> Run:
    torch.manual_seed(0)
    model = Model()
    run = Run(model, Average(model, 0.9), torch.optim.AdamW(model.parameters()), steps, 1.5)
    for group in run.optimizer.param_groups:
        group["base_lr"] = 0.1
    for _ in range(steps):
        model.layer(torch.ones(1, 2)).sum().backward()
        run.optimizer.step()
    return run


def content() -> dict[str, Any]:
    run = small_run(2)
    return {
        "class_names": list(NAMES),
        "model": run.model.state_dict(),
        "average": run.average.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "step": run.step,
        "seconds": run.seconds,
        "settings": dict(SETTINGS),
    }


def resumed(path: Path, names: tuple[str, ...] = NAMES) -> Run:
    run = small_run(0)
    resume(run, read_state(path, SETTINGS, names), path)
    return run


def test_everything_comes_back(tmp_path: Path) -> None:
    torch.save(content(), tmp_path / "last.pth")
    run, whole = resumed(tmp_path / "last.pth"), small_run(2)
    assert (run.step, run.seconds) == (2, 1.5)
    assert torch.equal(run.model.layer.weight, whole.model.layer.weight)
    for row, values in whole.optimizer.state_dict()["state"].items():
        for name, value in values.items():
            assert torch.equal(run.optimizer.state_dict()["state"][row][name], value)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (("background", "bolt", "nut"), "nut and bolt trade places"),
        ((*NAMES, "washer"), "washer is new"),
        (("background", "nut", "Bolt"), "Bolt is new; bolt is missing"),
    ],
)
def test_other_classes_are_told_as_names(tmp_path: Path, now: tuple[str, ...], told: str) -> None:
    torch.save(content(), tmp_path / "last.pth")
    with pytest.raises(ValueError, match=rf"last\.pth: .* with other classes: {told}$"):
        resumed(tmp_path / "last.pth", now)


def test_the_command_refuses_other_classes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path / "own", photos=2)
    assert main(command(data, tmp_path / "run", "--iterations", "1")) == 0
    before = (tmp_path / "run" / "last.pth").read_bytes()
    change(data, lambda c: [k.update(name=n) for k, n in zip(c["categories"], "XY", strict=True)])
    assert main(command(data, tmp_path / "run", "--iterations", "1", "--resume")) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "last.pth: the run was started with other classes: X and Y are new; square and" in said
    assert (tmp_path / "run" / "last.pth").read_bytes() == before


PARTS = ("class_names", "model", "average", "optimizer", "step", "seconds", "settings")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("value", ["missing", None, 0.5, "text", [], {}, torch.zeros(3), True, -1])
def test_parts_that_are_missing_or_of_another_kind(tmp_path: Path, part: str, value: Any) -> None:
    state = content()
    if isinstance(value, str) and value == "missing":
        del state[part]
    else:
        state[part] = value
    if (part, repr(value)) == ("seconds", "0.5"):
        return  # a time like any other
    torch.save(state, tmp_path / "last.pth")
    with pytest.raises(ValueError, match=r"last\.pth: "):
        resumed(tmp_path / "last.pth")


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to everything inside dicts and lists."""
    found = [way] if way else []
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    return found + [place for key, each in items for place in places(each, (*way, key))]


def odd_values(generator: random.Random) -> Any:
    return generator.choice(
        [
            *(None, True, -1, 10**30, 0.5, float("nan"), "", "text", [], {}, {1: 2}, [None]),
            *(torch.zeros(()), torch.zeros(0), torch.zeros(7, 7), torch.full((3, 2), torch.nan)),
            *(torch.zeros(3, 2, dtype=torch.complex64), torch.zeros(3, 2, dtype=torch.uint8)),
            *(torch.zeros(3, 2).to_sparse(), torch.zeros(3, 2, device="meta"), torch.ones(3)),
        ]
    )


def test_whatever_a_checkpoint_holds_it_is_resumed_or_refused_in_words(tmp_path: Path) -> None:
    """Seeded: one thing inside is replaced, removed or renamed; never a bare error."""
    path, whole = tmp_path / "last.pth", content()
    ways = places(whole)
    for seed in range(400):
        generator = random.Random(seed)
        state = copy.deepcopy(whole)
        *way, last = generator.choice(ways)
        holder: Any = state
        for key in way:
            holder = holder[key]
        action = generator.randrange(3) if isinstance(holder, dict) else 0
        if action == 0:
            holder[last] = odd_values(generator)
        elif action == 1:
            del holder[last]
        else:
            holder[generator.choice([None, 7, "other", ()])] = holder.pop(last)
        torch.save(state, path)
        run, said = None, f"{path}: "
        try:
            run = resumed(path)
        except ValueError as error:
            said = str(error)
        assert said.startswith(f"{path}: "), (seed, said)
        assert len(said) < 2000, seed
        if run is not None:
            assert all(each.isfinite().all() for each in run.model.state_dict().values()), seed
            run.model.layer(torch.ones(1, 2)).sum().backward()
            run.optimizer.step()


# --- the log --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["step,seconds,lr\n20,1.0", "a,b\n1,2\n", "step,seconds\nabc,1\n", "step,seconds\n1,2\n"],
)
def test_a_damaged_log_costs_the_log_not_the_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "log.csv").write_text(text)
    with pytest.warns(CheckpointWarning, match=r"log\.csv: found no log of a run .*a new one is"):
        log = Log(tmp_path, 20)
    assert log.rows == []


def test_a_log_of_other_losses_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("step,seconds,lr,loss_old\n20,1,0.1,3\n")
    log = Log(tmp_path, 20)
    log.add(21, 2.0, 0.1, {"loss_mask": 1.0})
    with pytest.warns(CheckpointWarning, match=r"log\.csv: has other columns"):
        log.close_line()
    log.write()
    assert (tmp_path / "log.csv").read_text().splitlines()[0] == "step,seconds,lr,loss_mask"
