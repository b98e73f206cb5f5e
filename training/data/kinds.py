"""What an unknown name is, where the sentence does not tell: "pause the entryway" stops the music of a room,
"pause the jukebox" that of a device, and only the word itself can say which."""

from __future__ import annotations

from collections import defaultdict

from .mixture import Turn
from .vocabulary import Vocabulary


class Kinds:
    """Sentences with more than one meaning for a name that nobody has heard, and the names that tell their kind."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        lists = {"area": vocabulary.areas, **vocabulary.names, **vocabulary.wildcards}
        self.heads = {kind: frozenset(value.split()[-1] for value in values.train) for kind, values in lists.items()}
        self.shapes: dict[str, set[str]] = defaultdict(set)

    def learn(self, turn: Turn) -> None:
        """Notes what a sentence can mean."""
        if turn.open_pattern:
            self.shapes[turn.open_pattern].add(turn.shape)

    def is_told(self, turn: Turn) -> bool:
        """Whether the sentence itself, or the agreement on unknown names, tells what was meant."""
        shapes = self.shapes.get(turn.open_pattern, set())
        return len(shapes) < 2 or turn.shape == _agreed(shapes)

    def tells(self, turn: Turn) -> bool:
        """Whether every name of the turn ends as a listed one of its kind does: `server room`, `wall lamp`."""
        return all(turn.example.slots[slot].split()[-1] in self.heads[kind] for slot, kind in turn.kinds.items() if kind in self.heads)

    @property
    def several(self) -> int:
        """Number of sentences with more than one meaning."""
        return sum(len(shapes) > 1 for shapes in self.shapes.values())


def _agreed(shapes: set[str]) -> str:
    """The meaning that an unknown name has: a device before a room, a vacuum before a mower."""
    return min(shapes, key=lambda shape: ("('area', '')" in shape, "LawnMower" in shape, shape))
