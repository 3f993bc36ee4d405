"""The command `mrcnn-steps`, and `inspect` from a photo to a report and a folder of pictures."""

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from PIL import Image

from mrcnn_steps import gallery
from mrcnn_steps.cli import COMMANDS, main
from mrcnn_steps.commands import inspect
from mrcnn_steps.model.checkpoint import save_weights
from mrcnn_steps.model.network import tiny
from mrcnn_steps.stages import STAGES


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    """A small model with random weights that finds something."""
    torch.manual_seed(0)
    model = tiny(image_size=128)
    torch.nn.init.normal_(model.roi_heads.box_predictor.cls_score.weight, std=8)
    torch.nn.init.normal_(model.rpn.head.cls_logits.weight, std=10)
    path = tmp_path_factory.mktemp("model") / "random.safetensors"
    save_weights(model, path, "tiny", 128)
    return str(path)


@pytest.fixture
def no_report(monkeypatch):
    """Write no report, where a test is about pictures."""
    monkeypatch.setattr(inspect, "report", lambda *args, **options: None)


@pytest.fixture
def few(monkeypatch, no_report):
    """Draw three of the pictures, where a test is not about them."""
    monkeypatch.setattr(gallery, "SCENES", tuple(gallery.SCENES[i] for i in (2, 4, 18)))


class Page(HTMLParser):
    """What a page links to and shows."""

    def __init__(self, path: Path):
        super().__init__()
        self.images, self.links, self.ids, self.tags = [], [], set(), []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        if "id" in found:
            self.ids.add(found["id"])
        if tag == "img":
            self.images.append(found)
        if tag == "a":
            self.links.append(found["href"])


class TestInspect:
    def test_writes_the_report_on_the_default_sample(
        self, checkpoint, tmp_path, monkeypatch, capsys
    ):
        monkeypatch.chdir(tmp_path)
        assert main(["inspect", "--model", checkpoint]) == 0
        names = ["inspect-voc_people.html", "inspect-voc_people.json"]
        assert sorted(path.name for path in tmp_path.iterdir()) == names
        printed = capsys.readouterr().out
        assert "target_rpn_match          shape: (1023,)" in printed
        assert printed.splitlines()[-1] == f"Open {tmp_path / names[0]}"
        twin = json.loads((tmp_path / names[1]).read_text())
        assert twin["made"]["command"] == f"mrcnn-steps inspect --model {checkpoint}"

    def test_the_report_goes_where_it_is_told_without_the_photo(self, checkpoint, tmp_path):
        out = tmp_path / "deep" / "cat.html"
        arguments = ["inspect", "cat", "--model", checkpoint, "--out", str(out), "--no-photos"]
        assert main(arguments) == 0
        assert "<img" not in out.read_text()


class TestPictures:
    def test_every_stage_and_a_page(self, no_report, checkpoint, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        assert main(["inspect", "--model", checkpoint, "--pictures", "pictures"]) == 0
        out = tmp_path / "pictures"
        assert [path.name for path in tmp_path.iterdir()] == [out.name]
        names = sorted(path.name for path in out.glob("*.png"))
        assert names[0] == "00-pipeline.png"
        assert len(names) == len(gallery.SCENES) == 20
        assert str(out / "index.html") in capsys.readouterr().out

        page = Page(out / "index.html")
        assert [image["src"] for image in page.images] == names
        for image in page.images:
            size = int(image["width"]), int(image["height"])
            with Image.open(out / image["src"]) as picture:
                assert picture.size == size
            assert len(image["alt"]) > 20
        for link in page.links:
            assert link[1:] in page.ids if link.startswith("#") else (out / link).is_file()
        assert page.tags.count("tr") > 25
        text = (out / "index.html").read_text()
        assert "prefers-color-scheme: dark" in text
        assert "//" not in text

    def test_an_image_file_has_no_annotations_to_draw(self, no_report, checkpoint, tmp_path):
        photo = tmp_path / "<b>&photo.png"
        Image.new("RGB", (40, 30), "teal").save(photo)
        out = tmp_path / "deep" / "folder"
        assert main(["inspect", str(photo), "--model", checkpoint, "--pictures", str(out)]) == 0
        page = Page(out / "index.html")
        assert len(page.images) == sum(s.needs != "annotations" for s in gallery.SCENES)
        assert "b" not in page.tags
        text = (out / "index.html").read_text()
        assert "&lt;b&gt;&amp;photo: a Mask R-CNN, step by step" in text
        assert "Not shown" in text
        assert "Mini-masks resized back" in text

    def test_replaces_what_it_wrote_before(self, few, checkpoint, tmp_path):
        out = tmp_path / "out"
        arguments = ["inspect", "voc_people", "--model", checkpoint, "--pictures", str(out)]
        assert main(arguments) == 0
        (out / "00-sample.png").write_text("stale")
        assert main(arguments) == 0
        with Image.open(out / "00-sample.png") as picture:
            assert picture.size[0] == 900
        assert [path.name for path in tmp_path.iterdir()] == ["out"]

    def test_fills_an_empty_folder(self, few, checkpoint, tmp_path):
        assert main(["inspect", "--model", checkpoint, "--pictures", str(tmp_path)]) == 0
        assert (tmp_path / "index.html").is_file()

    @pytest.mark.parametrize(
        ("files", "named"),
        [
            ({"thesis.tex": "years of work"}, "thesis.tex"),
            ({"index.html": "<html>my own page</html>"}, "index.html"),
            ({"index.html": gallery.MARKER, "notes.txt": "mine"}, "notes.txt"),
        ],
    )
    def test_never_replaces_a_folder_that_holds_something_else(
        self, checkpoint, tmp_path, capsys, files, named
    ):
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        assert main(["inspect", "--model", checkpoint, "--pictures", str(tmp_path)]) == 2
        assert f"holds '{named}', which `inspect` did not write" in capsys.readouterr().err
        assert {path.name: path.read_text() for path in tmp_path.iterdir()} == files

    def test_a_folder_called_like_a_picture_is_not_deleted(self, few, checkpoint, tmp_path, capsys):
        out = tmp_path / "out"
        arguments = ["inspect", "--model", checkpoint, "--pictures", str(out)]
        assert main(arguments) == 0
        picture = next(out.glob("*.png"))
        picture.unlink()
        picture.mkdir()
        (picture / "thesis.tex").write_text("years of work")
        assert main(arguments) == 2
        assert f"holds '{picture.name}', which `inspect` did not write" in capsys.readouterr().err
        assert (picture / "thesis.tex").read_text() == "years of work"

    def test_rights_stay_as_they_were(self, few, checkpoint, tmp_path):
        out = tmp_path / "out"
        arguments = ["inspect", "--model", checkpoint, "--pictures", str(out)]
        assert main(arguments) == 0
        out.chmod(0o700)
        (out / "index.html").chmod(0o600)
        assert main(arguments) == 0
        assert stat.S_IMODE(out.stat().st_mode) == 0o700
        assert stat.S_IMODE((out / "index.html").stat().st_mode) == 0o600

    def test_sections_are_the_stages(self):
        titles = list(dict.fromkeys(scene.stage for scene in gallery.SCENES))
        assert titles == ["Overview", "Photo", *(stage.title for stage in STAGES)]

    def test_never_replaces_the_current_folder(self, checkpoint, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        assert main(["inspect", "--model", checkpoint, "--pictures", "."]) == 2
        assert "is the current folder" in capsys.readouterr().err

    def test_a_failure_leaves_the_old_folder_as_it_was(
        self, few, checkpoint, tmp_path, monkeypatch
    ):
        out = tmp_path / "out"
        arguments = ["inspect", "--model", checkpoint, "--pictures", str(out)]
        assert main(arguments) == 0
        before = {path.name: path.read_bytes() for path in out.iterdir()}

        def interrupted(traced):
            raise KeyboardInterrupt

        scenes = (*gallery.SCENES[:2], replace(gallery.SCENES[2], draw=interrupted))
        monkeypatch.setattr(gallery.Scene, "slug", property(lambda scene: scene.title))
        monkeypatch.setattr(gallery, "SCENES", scenes)
        monkeypatch.setattr(gallery, "check_folder", lambda out: None)
        monkeypatch.setattr(inspect, "check_folder", lambda out: None)
        assert main(arguments) == 130
        assert {path.name: path.read_bytes() for path in out.iterdir()} == before
        assert [path.name for path in tmp_path.iterdir()] == ["out"]


class TestMistakes:
    """Each ends with status 2 and one line that names what was found and expected."""

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["nowhere.jpg"], "nowhere.jpg: no such file, and no bundled photo ("),
            (["text.jpg"], "text.jpg: found no readable image"),
            (["."], ": found a directory, expected an image"),
            (["--model", "nowhere.safetensors"], "nowhere.safetensors: no such checkpoint"),
            (["--model", "text.jpg"], "text.jpg: found "),
            (["--out", "text.jpg"], "text.jpg: expected a file to write that ends in .html"),
            (["--out", "folder.html"], "folder.html: found a folder, expected a file"),
            (["--pictures", "text.jpg"], "text.jpg: found a file, expected a folder"),
        ],
    )
    def test_of_inspect(self, tmp_path, monkeypatch, capsys, arguments, said):
        monkeypatch.chdir(tmp_path)
        Path("text.jpg").write_text("these are words")
        Path("folder.html").mkdir()
        assert main(["inspect", *arguments]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert error.startswith("mrcnn-steps: ")
        assert error.count("\n") == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.html", "text.jpg"]

    @pytest.mark.parametrize("arguments", [[], ["fly"], ["inspect", "--nope"]])
    def test_of_the_command_line(self, capsys, arguments):
        assert main(arguments) == 2
        assert "usage: mrcnn-steps" in capsys.readouterr().err


class TestCommand:
    def test_help_lists_the_commands(self, capsys):
        assert main(["--help"]) == 0
        printed = capsys.readouterr().out
        assert all(f"    {name} " in printed for name in COMMANDS)

    @pytest.mark.parametrize("name", COMMANDS)
    def test_every_command_exists(self, name, capsys):
        assert find_spec(COMMANDS[name][0]) is not None
        assert main([name, "--help"]) == 0
        assert f"usage: mrcnn-steps {name}" in capsys.readouterr().out

    def test_ctrl_c_is_quiet(self, monkeypatch, capsys):
        def interrupted(args):
            raise KeyboardInterrupt

        monkeypatch.setattr(inspect, "run", interrupted)
        assert main(["inspect"]) == 130
        assert capsys.readouterr().err == ""

    def test_only_the_chosen_command_is_imported(self):
        code = (
            "import sys; from mrcnn_steps.cli import main; main(['--help'])\n"
            "heavy = {'torch', 'numpy', 'matplotlib', 'mrcnn_steps.commands.train'}\n"
            "print(sorted(heavy & set(sys.modules)))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.splitlines()[-1] == "[]"

    def test_a_closed_output_is_quiet(self, tmp_path):
        """As cron starts it, or a shell with `>&-`."""
        words = "-m mrcnn_steps.cli lab lessons --copy-only"
        done = subprocess.run(
            f"exec '{sys.executable}' {words} >&-",
            shell=True,
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")

    @pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
    def test_a_terminal_shows_at_once_that_the_command_has_begun(self, tmp_path):
        """Before torch is imported, which takes seconds."""
        master, terminal = os.openpty()
        process = subprocess.Popen(
            [sys.executable, "-m", "mrcnn_steps.cli", "inspect", "none.jpg"],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=terminal,
        )
        os.close(terminal)
        first = os.read(master, 100).decode()
        assert first.startswith("inspect: loading")
        process.kill()
        process.wait()
        os.close(master)

    def test_an_error_of_the_system_is_file_and_reason(self, monkeypatch, capsys):
        def full(args):
            raise OSError(28, "No space left on device", "run/last.pth")

        monkeypatch.setattr(inspect, "run", full)
        assert main(["inspect"]) == 2
        said = capsys.readouterr().err
        assert said == "mrcnn-steps: run/last.pth: No space left on device\n"

    def test_a_broken_pipe_is_quiet(self, tmp_path):
        (tmp_path / "talk.py").write_text(
            "def add_arguments(parser): pass\n"
            "def run(args):\n"
            "    print('word ' * 10_000)\n"
            "    return 0\n"
        )
        code = (
            "import sys; from mrcnn_steps import cli\n"
            "cli.COMMANDS['talk'] = ('talk', 'talk')\n"
            "sys.exit(cli.main(['talk']))"
        )
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(write)
        assert (done.returncode, done.stderr) == (141, "")
