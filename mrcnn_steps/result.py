"""What a model answers, without the memory that its masks take."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

from torch import Tensor


class Result(dict[str, Tensor]):
    """The dictionary `model([image])[0]`, whose masks are pasted when they are first read.

    A hundred masks of a photo of 12 megapixels take 4.8 GB, and hardly anybody reads them.
    """

    def __init__(self, found: Mapping[str, Tensor], paste: Callable[[], Tensor] | None) -> None:
        """Keep an answer.

        Args:
            found: what is known already.
            paste: computes `masks`, which come last; None if there are none.
        """
        super().__init__(found)
        self._paste = paste

    def __getitem__(self, name: str) -> Tensor:
        if name == "masks" and self._paste is not None:
            self[name] = self._paste()
        return super().__getitem__(name)

    def __setitem__(self, name: str, value: Tensor) -> None:
        super().__setitem__(name, value)
        if name == "masks":
            self._paste = None

    def __delitem__(self, name: str) -> None:
        if name == "masks" and self._paste is not None:
            self._paste = None
        else:
            super().__delitem__(name)

    def __iter__(self) -> Iterator[str]:
        yield from super().__iter__()
        if self._paste is not None:
            yield "masks"

    def __len__(self) -> int:
        return super().__len__() + (self._paste is not None)

    def __contains__(self, name: object) -> bool:
        return name in tuple(self)

    def __repr__(self) -> str:
        return repr(dict(self))

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)

    # `dict` looks into its own storage; a mapping's methods ask those above.
    keys = MutableMapping.keys  # type: ignore[assignment]
    values = MutableMapping.values  # type: ignore[assignment]
    items = MutableMapping.items  # type: ignore[assignment]
    get = MutableMapping.get  # type: ignore[assignment]
    pop = MutableMapping.pop
    popitem = MutableMapping.popitem
    setdefault = MutableMapping.setdefault
    clear = MutableMapping.clear
