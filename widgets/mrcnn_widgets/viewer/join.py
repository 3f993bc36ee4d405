"""The viewer's JavaScript as one text: anywidget loads a string, a page in one file no modules."""

import re
from pathlib import Path

IMPORT = re.compile(r'^import \{[^}]*\} from "(\.{1,2}/[\w./-]+\.js)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=async |class |const |function)", re.MULTILINE)


def join(entry: Path) -> str:
    """Put a module after all that it imports, each once; only the entry still exports.

    Names are kept: no two modules may use the same name at their top level, nor rename imports.
    """
    texts: dict[Path, str] = {}

    def add(path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        for name in IMPORT.findall(text):
            other = (path.parent / name).resolve()
            if other not in texts:
                add(other)
        text = IMPORT.sub("", text)
        texts[path] = text if path == entry else EXPORT.sub("", text)

    entry = entry.resolve()
    add(entry)
    return "\n".join(texts.values())


# What a page needs to show a scene: `SCRIPT` exports `mount`, and `render` for anywidget.
SCRIPT = join(Path(__file__).with_name("js") / "index.js")
STYLE = Path(__file__).with_name("viewer.css").read_text(encoding="utf-8")
