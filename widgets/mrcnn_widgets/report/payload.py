"""The data of a page: named blocks of bytes, compressed, that a browser unpacks by itself.

A block is the base64 text of a script element of a type that no browser runs. What is the same
twice, such as a photo, is stored once.
"""

import base64
import hashlib
import json
import re
import zlib
from typing import Any

from mrcnn_widgets.report.html import straight

NAME = re.compile(r"[a-z][\w-]*")
TYPE = "application/octet-stream"


class Payload:
    """The blocks of one page, by name."""

    def __init__(self) -> None:
        self._blocks: dict[str, bytes] = {}
        self._names: dict[bytes, str] = {}

    def __len__(self) -> int:
        return len(self._blocks)

    def add(self, name: str, content: bytes) -> str:
        """Store bytes.

        Args:
            name: letters, digits, "-" and "_"; not taken yet.
            content: what the browser gets back.

        Returns:
            The name to ask for: that of an earlier block with the same content, if there is one.

        Raises:
            ValueError: the name is taken by other bytes, or has other letters.
        """
        return self.add_compressed(name, zlib.compress(content, 9))

    def add_compressed(self, name: str, deflated: bytes) -> str:
        """Store bytes that zlib has compressed; see `add`."""
        if not NAME.fullmatch(name):
            raise ValueError(f"block: expected a name such as 'case-1', found {name!r}")
        digest = hashlib.sha256(deflated).digest()
        if digest in self._names:
            return self._names[digest]
        if name in self._blocks:
            raise ValueError(f"block: {name!r} is taken")
        self._blocks[name], self._names[digest] = deflated, name
        return name

    def add_json(self, name: str, value: Any) -> str:
        """Store what JSON can say; see `add`."""
        return self.add(name, json_text(value).encode())

    def keep_first(self, count: int) -> None:
        """Forget all blocks but those that were stored first; `len` tells how many there are."""
        for name in list(self._blocks)[count:]:
            del self._names[hashlib.sha256(self._blocks.pop(name)).digest()]

    @property
    def size(self) -> int:
        """How many bytes of the page the blocks take."""
        return sum(-(-len(block) // 3) * 4 for block in self._blocks.values())

    def html(self) -> str:
        """Give the elements that hold the blocks: base64 cannot leave them."""
        return "\n".join(
            f'<script type="{TYPE}" id="{name}">{base64.b64encode(block).decode()}</script>'
            for name, block in self._blocks.items()
        )


def json_text(value: Any) -> str:
    """Write JSON as short as it gets; NaN and infinity, which it does not know, are refused.

    Texts are made `straight`.
    """
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return straight(text)
