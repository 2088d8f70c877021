"""How each kind of object looks: shapes in a 100 x 100 box, back to front, y pointing down.

A shape is (form, tone, numbers): an ellipse by its bounding box, a polygon by its
corners, a line by its points and, last, its width. Tones `body`, `light` and `dark` are
shades of the object's colour; other tones are the same in every image.
"""

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image, ImageDraw

COLOURS = {
    "red": (214, 40, 40),
    "orange": (245, 140, 30),
    "yellow": (248, 220, 50),
    "green": (60, 165, 65),
    "blue": (45, 95, 215),
    "purple": (130, 60, 175),
    "pink": (248, 150, 195),
    "white": (246, 246, 244),
}

_FIXED_TONES = {
    "ink": (38, 34, 44),
    "wood": (112, 78, 54),
    "glass": (196, 222, 232),
    "metal": (150, 152, 160),
    "cream": (240, 228, 200),
    "leaf": (74, 112, 66),
}

DRAWINGS = {
    "cat": (
        ("line", "body", (76, 90, 92, 84, 95, 66, 88, 54, 8)),
        ("ellipse", "body", (26, 48, 78, 98)),
        ("polygon", "body", (22, 36, 22, 3, 46, 18)),
        ("polygon", "body", (76, 36, 76, 3, 52, 18)),
        ("ellipse", "body", (18, 12, 80, 62)),
        ("ellipse", "light", (38, 62, 66, 96)),
        ("ellipse", "ink", (33, 28, 41, 40)),
        ("ellipse", "ink", (57, 28, 65, 40)),
        ("polygon", "ink", (45, 43, 53, 43, 49, 48)),
        ("line", "ink", (8, 42, 34, 46, 2)),
        ("line", "ink", (8, 54, 34, 50, 2)),
        ("line", "ink", (90, 42, 64, 46, 2)),
        ("line", "ink", (90, 54, 64, 50, 2)),
    ),
    "dog": (
        ("line", "body", (70, 82, 90, 66, 94, 54, 9)),
        ("ellipse", "body", (26, 48, 76, 98)),
        ("ellipse", "body", (20, 6, 78, 62)),
        ("ellipse", "dark", (8, 10, 29, 62)),
        ("ellipse", "dark", (69, 10, 90, 62)),
        ("ellipse", "light", (34, 34, 64, 64)),
        ("ellipse", "ink", (35, 22, 43, 32)),
        ("ellipse", "ink", (55, 22, 63, 32)),
        ("ellipse", "ink", (42, 37, 56, 48)),
        ("line", "ink", (49, 47, 49, 56, 2)),
        ("ellipse", "dark", (28, 86, 46, 99)),
        ("ellipse", "dark", (54, 86, 72, 99)),
    ),
    "car": (
        ("polygon", "body", (22, 48, 34, 26, 68, 26, 82, 48)),
        ("polygon", "body", (3, 54, 12, 46, 90, 46, 98, 56, 98, 74, 3, 74)),
        ("polygon", "glass", (30, 46, 38, 31, 49, 31, 49, 46)),
        ("polygon", "glass", (54, 46, 54, 31, 65, 31, 74, 46)),
        ("ellipse", "ink", (14, 62, 36, 84)),
        ("ellipse", "ink", (66, 62, 88, 84)),
        ("ellipse", "metal", (20, 68, 30, 78)),
        ("ellipse", "metal", (72, 68, 82, 78)),
        ("ellipse", "cream", (90, 54, 98, 62)),
    ),
    "bus": (
        ("polygon", "body", (3, 16, 94, 16, 98, 24, 98, 78, 3, 78)),
        ("polygon", "glass", (9, 26, 27, 26, 27, 46, 9, 46)),
        ("polygon", "glass", (33, 26, 51, 26, 51, 46, 33, 46)),
        ("polygon", "glass", (57, 26, 75, 26, 75, 46, 57, 46)),
        ("polygon", "glass", (81, 26, 94, 26, 94, 70, 81, 70)),
        ("line", "light", (3, 56, 78, 56, 5)),
        ("ellipse", "ink", (14, 66, 34, 88)),
        ("ellipse", "ink", (60, 66, 80, 88)),
        ("ellipse", "metal", (20, 72, 28, 82)),
        ("ellipse", "metal", (66, 72, 74, 82)),
    ),
    "house": (
        ("polygon", "dark", (68, 10, 80, 10, 80, 34, 68, 34)),
        ("polygon", "body", (14, 46, 86, 46, 86, 96, 14, 96)),
        ("polygon", "dark", (2, 48, 50, 5, 98, 48)),
        ("polygon", "wood", (42, 64, 60, 64, 60, 96, 42, 96)),
        ("polygon", "glass", (21, 56, 36, 56, 36, 72, 21, 72)),
        ("polygon", "glass", (66, 56, 80, 56, 80, 72, 66, 72)),
        ("ellipse", "cream", (43, 22, 57, 36)),
    ),
    "tree": (
        ("polygon", "wood", (43, 60, 57, 60, 62, 98, 38, 98)),
        ("ellipse", "body", (6, 28, 54, 72)),
        ("ellipse", "body", (46, 28, 94, 72)),
        ("ellipse", "body", (22, 3, 78, 54)),
        ("ellipse", "body", (28, 38, 72, 76)),
        ("ellipse", "light", (32, 12, 52, 28)),
        ("ellipse", "dark", (60, 46, 74, 58)),
        ("ellipse", "dark", (24, 48, 36, 58)),
    ),
    "boat": (
        ("line", "wood", (50, 6, 50, 70, 5)),
        ("polygon", "cream", (54, 8, 54, 58, 92, 58)),
        ("polygon", "light", (46, 16, 46, 58, 16, 58)),
        ("polygon", "body", (3, 64, 97, 64, 80, 92, 20, 92)),
        ("line", "dark", (10, 73, 90, 73, 4)),
    ),
    "fish": (
        ("polygon", "dark", (66, 50, 98, 24, 90, 50, 98, 76)),
        ("polygon", "dark", (32, 32, 52, 12, 62, 34)),
        ("polygon", "dark", (36, 68, 50, 86, 58, 66)),
        ("ellipse", "body", (3, 26, 78, 74)),
        ("ellipse", "light", (18, 52, 60, 72)),
        ("ellipse", "cream", (14, 36, 28, 50)),
        ("ellipse", "ink", (17, 39, 25, 47)),
        ("line", "dark", (38, 34, 44, 50, 38, 66, 4)),
    ),
    "bird": (
        ("polygon", "dark", (70, 56, 98, 40, 94, 62)),
        ("line", "ink", (42, 80, 40, 96, 3)),
        ("line", "ink", (54, 80, 56, 96, 3)),
        ("polygon", "cream", (18, 26, 2, 34, 18, 40)),
        ("ellipse", "body", (22, 34, 82, 86)),
        ("ellipse", "body", (14, 10, 52, 50)),
        ("polygon", "dark", (38, 50, 78, 50, 62, 72, 46, 70)),
        ("ellipse", "ink", (22, 22, 31, 31)),
    ),
    "ball": (
        ("ellipse", "body", (6, 6, 94, 94)),
        ("polygon", "cream", (34, 10, 50, 6, 66, 10, 58, 50, 66, 90, 50, 94, 34, 90, 42, 50)),
        ("ellipse", "dark", (40, 40, 60, 60)),
        ("ellipse", "light", (18, 22, 30, 36)),
    ),
    "balloon": (
        ("line", "ink", (50, 70, 46, 80, 54, 88, 48, 98, 3)),
        ("polygon", "dark", (42, 76, 58, 76, 50, 66)),
        ("ellipse", "body", (18, 2, 82, 72)),
        ("ellipse", "light", (30, 14, 44, 32)),
    ),
    "umbrella": (
        ("line", "wood", (50, 4, 50, 86, 5)),
        ("line", "wood", (50, 86, 47, 94, 40, 95, 36, 88, 5)),
        (
            "polygon",
            "body",
            (3, 52, 7, 36, 18, 21, 33, 12, 50, 9, 67, 12, 82, 21, 93, 36, 97, 52)
            + (88, 46, 78, 46, 67, 52, 58, 46, 50, 45, 42, 46, 33, 52, 22, 46, 12, 46),
        ),
        ("line", "dark", (50, 10, 33, 50, 3)),
        ("line", "dark", (50, 10, 67, 50, 3)),
    ),
    "flower": (
        ("line", "leaf", (50, 50, 50, 98, 6)),
        ("ellipse", "leaf", (52, 74, 76, 86)),
        ("ellipse", "leaf", (26, 80, 48, 91)),
        ("ellipse", "body", (36, 2, 64, 32)),
        ("ellipse", "body", (12, 16, 42, 44)),
        ("ellipse", "body", (58, 16, 88, 44)),
        ("ellipse", "body", (20, 38, 48, 66)),
        ("ellipse", "body", (52, 38, 80, 66)),
        ("ellipse", "cream", (37, 23, 63, 49)),
        ("ellipse", "wood", (44, 30, 56, 42)),
    ),
    "mushroom": (
        ("polygon", "cream", (40, 44, 60, 44, 66, 96, 34, 96)),
        (
            "polygon",
            "body",
            (5, 56, 8, 38, 19, 22, 34, 11, 50, 8, 66, 11, 81, 22, 92, 38, 95, 56),
        ),
        ("ellipse", "cream", (22, 30, 38, 46)),
        ("ellipse", "cream", (46, 16, 60, 30)),
        ("ellipse", "cream", (64, 34, 80, 50)),
    ),
    "star": (
        (
            "polygon",
            "body",
            (50, 2, 63, 36, 98, 38, 70, 60, 80, 96, 50, 75, 20, 96, 30, 60, 2, 38, 37, 36),
        ),
        ("polygon", "light", (50, 24, 57, 45, 50, 58, 43, 45)),
    ),
    "hat": (
        ("ellipse", "dark", (2, 58, 98, 88)),
        ("polygon", "body", (24, 70, 27, 22, 38, 12, 62, 12, 73, 22, 76, 70)),
        ("ellipse", "body", (24, 62, 76, 78)),
        ("polygon", "ink", (25, 52, 75, 52, 76, 66, 24, 66)),
    ),
    "cup": (
        ("line", "dark", (72, 36, 90, 36, 95, 50, 88, 64, 68, 66, 8)),
        ("polygon", "body", (12, 22, 78, 22, 72, 80, 64, 92, 26, 92, 18, 80)),
        ("ellipse", "dark", (12, 14, 78, 31)),
        ("ellipse", "wood", (18, 18, 72, 29)),
        ("line", "light", (24, 40, 28, 76, 5)),
    ),
    "key": (
        ("line", "body", (42, 50, 96, 50, 12)),
        ("line", "body", (76, 50, 76, 74, 10)),
        ("line", "body", (92, 50, 92, 70, 10)),
        ("ellipse", "body", (2, 24, 54, 76)),
        ("ellipse", "ink", (17, 39, 39, 61)),
    ),
    "apple": (
        ("ellipse", "body", (8, 22, 60, 90)),
        ("ellipse", "body", (40, 22, 92, 90)),
        ("ellipse", "body", (26, 50, 74, 96)),
        ("line", "wood", (50, 32, 54, 8, 6)),
        ("ellipse", "leaf", (56, 6, 82, 22)),
        ("ellipse", "light", (20, 34, 34, 52)),
    ),
    "kite": (
        ("line", "ink", (50, 72, 42, 82, 56, 88, 46, 98, 3)),
        ("polygon", "body", (50, 2, 84, 34, 50, 76, 16, 34)),
        ("polygon", "light", (50, 2, 84, 34, 50, 34)),
        ("polygon", "dark", (16, 34, 50, 34, 50, 76)),
        ("polygon", "dark", (34, 80, 44, 84, 35, 89)),
        ("polygon", "dark", (66, 82, 56, 87, 64, 93)),
    ),
}

KINDS = tuple(DRAWINGS)


def draw_object(
    kind: str, rgb: Int[np.ndarray, "3"], size: int, mirrored: bool
) -> UInt8[np.ndarray, "size size 4"]:
    """Draws one object on a transparent square.

    Args:
      kind: one of `KINDS`.
      rgb: the colour of its body, 0 to 255.
      size: side of the square in pixels.
      mirrored: True to swap left and right.

    Returns:
      Red, green, blue and coverage (0 outside, 255 inside, between on the rim).
    """
    tones = {
        **_FIXED_TONES,
        "body": tuple(rgb.tolist()),
        "light": tuple((rgb + (255 - rgb) * 2 // 5).tolist()),
        "dark": tuple((rgb * 7 // 10).tolist()),
    }
    rim = tuple((rgb * 9 // 20).tolist())
    rim_width = max(2, round(size / 18))
    # Twice the size, averaged down at the end: smooth rims.
    tile = Image.new("RGBA", (2 * size, 2 * size), (0, 0, 0, 0))
    pen = ImageDraw.Draw(tile)
    scale = 2 * size / 100

    def place(numbers):
        xy = np.asarray(numbers, dtype=np.float64).reshape(-1, 2)
        if mirrored:
            xy = np.stack([100 - xy[:, 0], xy[:, 1]], axis=1)
        return [tuple(point) for point in (xy * scale).tolist()]

    # All rims first, then all fillings, so that only the outline of the union shows.
    for grown in (True, False):
        for form, tone, numbers in DRAWINGS[kind]:
            if grown and tone == "ink":
                continue
            fill = rim if grown else tones[tone]
            if form == "ellipse":
                (x0, y0), (x1, y1) = place(numbers)
                grow = rim_width / 2 if grown else 0
                x0, x1 = min(x0, x1), max(x0, x1)
                pen.ellipse((x0 - grow, y0 - grow, x1 + grow, y1 + grow), fill=fill)
            elif form == "polygon":
                corners = place(numbers)
                if grown:
                    pen.line(
                        [*corners, *corners[:2]], fill=fill, width=rim_width, joint="curve"
                    )
                pen.polygon(corners, fill=fill)
            else:
                width = max(2, round(numbers[-1] * scale))
                width += rim_width if grown else 0
                pen.line(place(numbers[:-1]), fill=fill, width=width, joint="curve")
    return np.array(tile.reduce(2))
