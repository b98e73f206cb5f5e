"""Numbers as they are spoken and as the recognizer writes them."""

from __future__ import annotations

import random

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()

# Whisper writes nearly all numbers in digits; small ones sometimes in words.
WORDS_SHARE = 0.15

# What people say, drawn more often than the rest of a range.
USUAL = {
    "timer_seconds": (5, 10, 15, 20, 30, 45, 60, 90),
    "timer_minutes": (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, 40, 45, 60, 90),
    "timer_hours": (1, 2, 3, 4, 5, 6, 8, 10, 12, 24),
    "percentage": (5, 10, 15, 20, 25, 30, 35, 40, 50, 60, 65, 70, 75, 80, 85, 90, 95, 100),
    "temperature": (16, 17, 18, 18.5, 19, 19.5, 20, 20.5, 21, 21.5, 22, 22.5, 23, 24, 25, 65, 68, 70, 72, 75),
    "color_temperature": (2000, 2200, 2700, 3000, 3500, 4000, 5000, 6500),
}
USUAL_SHARE = 0.75


def words(number: int) -> str:
    """Words of 0 to 100: `words(42) == "forty two"`."""
    if number < 20:
        return ONES[number]
    if number == 100:
        return "one hundred"
    tens, ones = divmod(number, 10)
    return TENS[tens - 2] + (f" {ONES[ones]}" if ones else "")


def draw_number(usual: str, low: int, high: int, step: int, has_halves: bool, rng: random.Random) -> float | int:
    """A number of the range, usual ones more often."""
    if usual in USUAL and rng.random() < USUAL_SHARE:
        number = rng.choice(USUAL[usual])
        if low <= number <= high:
            return number
    whole = rng.randrange(low, high + 1, step)
    return whole + 0.5 if has_halves and whole < high and rng.random() < 0.2 else whole


def spoken(number: float | int, rng: random.Random) -> str:
    """The number as written by the recognizer."""
    if isinstance(number, int) and 0 <= number <= 100 and rng.random() < WORDS_SHARE:
        return words(number)
    return str(number)
