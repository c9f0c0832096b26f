"""Colors of curves, the same in animations, in reports and on the page (`plotOptions.ts`).

Blue and orange stay apart for every kind of color blindness. Each color has a contrast of at least
4.5:1 with the background of its theme.
"""

TEST, TRAINING = 0, 1
"""Which of the colors the curves of test and of training images have."""

CURVE_COLORS = {
    "light": ("#1f6fb4", "#c4500a", "#1b7f5b", "#a33a86"),
    "dark": ("#6cb6ff", "#ff9e5c", "#5fd3a5", "#f08bd3"),
}
"""CSS colors by theme, in the order in which the curves of a chart take them."""
