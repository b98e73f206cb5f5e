"""Draws the rows of scripts/quality_peers.py as one picture: KL from the original over bytes, both axes logarithmic.

    quality_curve.py ROWS.jsonl MODEL OUT.svg

Points are files; llama.cpp's carry the name of their type. KL is as each program plays its file, the mean of both
evaluation texts.
"""

import json
import math
import sys
from pathlib import Path

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 24, 48
MAKERS = {"llama.cpp": "#c2571a", "whittle": "#1f6fb2"}
GRID, INK, FAINT = "#d9d9d9", "#333333", "#777777"


def ticks(low: float, high: float, steps: list[float]) -> list[float]:
    """Round numbers from low to high."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    every = (step * 10.0**power for power in range(first, last + 1) for step in steps)
    return [value for value in every if low <= value <= high]


def text(x: float, y: float, words: str, anchor: str = "middle", colour: str = INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{words}</text>'


def main() -> None:
    rows, model, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    found = {(row["maker"], row["type"]): row for row in map(json.loads, rows.read_text().splitlines()) if row["model"] == model}
    points = {maker: [] for maker in MAKERS}
    for (maker, kind), row in found.items():
        points[maker].append((row["file_bytes"] / 1e6, row["as_played"]["all"]["kl_mean"], kind))
    every = [point for of_maker in points.values() for point in of_maker]
    if not every:
        sys.exit(f"{rows} has no rows of {model}")
    low_x, high_x = min(p[0] for p in every) / 1.05, max(p[0] for p in every) * 1.05
    low_y, high_y = min(p[1] for p in every) / 1.4, max(p[1] for p in every) * 1.4

    def x(megabytes: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(megabytes / low_x) / math.log(high_x / low_x)

    def y(kl: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log(kl / low_y) / math.log(high_y / low_y)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for value in ticks(low_x, high_x, [1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9]):
        parts.append(f'<path d="M{x(value):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="{GRID}"/>')
        parts.append(text(x(value), HEIGHT - BOTTOM + 16, f"{value:g}"))
    for value in ticks(low_y, high_y, [1, 3]):
        parts.append(f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>')
        parts.append(text(LEFT - 6, y(value) + 4, f"{value:g}", "end"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "whole file, MB"))
    parts.append(text(LEFT, TOP - 8, "mean KL from the original, nats a token, as played", "start"))
    for place, (maker, colour) in enumerate(MAKERS.items()):
        ordered = sorted(points[maker])
        line = "L".join(f"{x(mb):.1f} {y(kl):.1f}" for mb, kl, _ in ordered)
        parts.append(f'<path d="M{line}" fill="none" stroke="{colour}" stroke-opacity="0.4"/>')
        for mb, kl, kind in ordered:
            parts.append(f'<circle cx="{x(mb):.1f}" cy="{y(kl):.1f}" r="4" fill="{colour}"><title>{kind}: {mb:.2f} MB, {kl:.4f}</title></circle>')
            if maker == "llama.cpp":
                parts.append(text(x(mb) + 7, y(kl) - 5, kind, "start", FAINT))
        parts.append(f'<circle cx="{WIDTH - 130}" cy="{TOP + 14 + 18 * place}" r="4" fill="{colour}"/>')
        parts.append(text(WIDTH - 120, TOP + 18 + 18 * place, maker, "start"))
    out.write_text("\n".join([*parts, "</svg>", ""]))


if __name__ == "__main__":
    main()
