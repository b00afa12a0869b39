"""What the car's camera sees, drawn fast: paint the world once a track, look it up every frame.

The official renderer draws some 700 polygons at 1000 x 800 for every frame and shrinks the picture
to 96 x 96. Here a track is painted once, as a map of palette indices. A frame is that map seen
through the camera (it rides on the car: a shift, a rotation and a zoom): each of the 64 x 64
pixels averages the colours at a few points of the map. The points are spread as the window's own
pixels weigh in ours (shrunk to 96 x 96 by area, cropped to 84 rows, area-resized to 64 x 64); they
lie on a rotated grid, so that edges along the axes get as many shades as there are points. The
car hardly moves in its own camera: its parts are sprites, drawn when first needed.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterable, Sequence

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # before pygame is imported below

import numpy as np
import pygame
from gymnasium.envs.box2d import car_dynamics
from gymnasium.envs.box2d import car_racing as original

from wmlib.envs.car_racing.official import ROWS, SIDE, area_matrix

SHOWN_H = original.WINDOW_H * ROWS // original.STATE_H  # rows of the window that we keep: 700
CAR_X, CAR_Y = original.WINDOW_W / 2, original.WINDOW_H * 3 / 4  # the car, from the top left

TEXELS = 6  # texels of the map for one playfield unit; a pixel of ours is 0.96 x 0.68 units
HALF = original.PLAYFIELD + 1  # the map's edge: a rim of black around the playfield [units]
MAP_SIZE = math.ceil(2 * HALF * TEXELS)
# Both pygame and the official gfxdraw fill a polygon's outline too, which widens it by half a
# texel on our map and by half a window pixel there.
GROWTH = 0.5 / TEXELS - 0.5 / (original.ZOOM * original.SCALE)

OUTSIDE, GRASS, LIGHT_GRASS, WHITE, RED, HULL, WHEEL, STRIPE, ROAD = range(9)  # palette indices
SHADES = 3  # tile i is ROAD + i % SHADES until it is touched, then ROAD
COLORS = {
    GRASS: (102, 204, 102),
    LIGHT_GRASS: (102, 230, 102),
    WHITE: (255, 255, 255),
    RED: (255, 0, 0),
    HULL: (204, 0, 0),
    WHEEL: car_dynamics.WHEEL_COLOR,
    STRIPE: car_dynamics.WHEEL_WHITE,
    ROAD: (102, 102, 102),
    ROAD + 1: (104, 104, 104),
    ROAD + 2: (107, 107, 107),
}

ANGLE_STEPS = 20  # sprites of a wheel for each radian of steering
PHASE_STEPS = 48  # and for each turn of the wheel

# Where the car is: in the window (left, top, right, bottom) and in our frame.
BOX = (468, 540, 532, 650)
BOX_ROWS, BOX_COLUMNS = slice(50, 59), slice(30, 34)

# How much each pixel of the window weighs in each of ours: (64, 1000) and (64, 700).
COLUMN_WEIGHTS = area_matrix(original.STATE_W, SIDE) @ area_matrix(
    original.WINDOW_W, original.STATE_W
)
ROW_WEIGHTS = area_matrix(ROWS, SIDE) @ area_matrix(SHOWN_H, ROWS)


@functools.cache
def _palette() -> np.ndarray:
    """Colours as the official frame shows them: pygame's smoothscale darkens by 2, (256, 3)."""
    palette = np.zeros((256, 3), np.uint8)
    window = pygame.Surface((original.WINDOW_W, original.WINDOW_H))
    for index, color in COLORS.items():
        window.fill(color)
        small = pygame.transform.smoothscale(window, (original.STATE_W, original.STATE_H))
        palette[index] = small.get_at((0, 0))[:3]
    return palette


def _slice_centres(weights: np.ndarray, n: int) -> np.ndarray:
    """Cut each row's weight into n equal slices; their centres of mass, (n, n_out)."""
    ends = np.concatenate([np.zeros((len(weights), 1)), np.cumsum(weights, axis=1)], axis=1)
    fine = np.linspace(0, 1, 16 * n + 1)[:-1] + 0.5 / (16 * n)
    at = [np.interp(fine, row, np.arange(len(row))) for row in ends]
    centres: np.ndarray = np.reshape(at, (len(weights), n, 16)).mean(axis=2).T
    return centres


class Sampler:
    """Looks at a map of palette indices through the camera, with n points for each pixel.

    Args:
        palette: colours, (256, 3) integers in 0..255.
        n: points for each pixel, 4 or 16 or 64 (a square whose root is a power of two).
    """

    def __init__(self, palette: np.ndarray, n: int) -> None:
        x = _slice_centres(COLUMN_WEIGHTS, n) - CAR_X  # (n, 64) right of the car
        y = CAR_Y - _slice_centres(ROW_WEIGHTS, n)  # (n, 64) ahead of the car
        order = np.arange(1, n + 1) * math.isqrt(n) % (n + 1) - 1  # a rotated grid
        self._across = np.ones((n, 2, SIDE), np.float32)
        self._across[:, 0] = x
        self._ahead = y[order].astype(np.float32)
        self._rays = np.empty((n, 2, SIDE, 2), np.float32)
        self._uv = np.empty((n, 2 * SIDE, SIDE), np.float32)
        self._texel = np.empty((2, n, SIDE, SIDE), np.int32)
        self._where = np.empty((n, SIDE, SIDE), np.intp)
        self._index = np.empty((n, SIDE, SIDE), np.uint8)
        self._color = np.empty((n, SIDE, SIDE), np.uint64)
        # Red, green and blue in 16-bit lanes, scaled so that the sum of n colours has the
        # rounded mean in the upper byte of each lane.
        lanes = palette.astype(np.uint64) * np.uint64(256 // n) + np.uint64(128 // n)
        self._packed = lanes @ np.array([1, 1 << 16, 1 << 32], np.uint64)

    def look(self, world: np.ndarray, x: float, y: float, angle: float, scale: float) -> np.ndarray:
        """What a camera at (x, y) [texels], turned by angle [rad], sees: (64, 64, 3) uint8.

        Args:
            world: palette indices, (height, width) uint8.
            scale: texels for one pixel of the official window.
        """
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        rays, uv, texel = self._rays, self._uv, self._texel
        rays[:, 0, :, 0] = cos
        rays[:, 1, :, 0] = sin
        np.multiply(self._ahead, -sin, out=rays[:, 0, :, 1])
        np.multiply(self._ahead, cos, out=rays[:, 1, :, 1])
        rays[:, 0, :, 1] += x
        rays[:, 1, :, 1] += y
        np.matmul(rays.reshape(-1, 2 * SIDE, 2), self._across, out=uv)  # (n, 2 * 64, 64)
        height, width = world.shape
        reach = scale * math.hypot(CAR_X, CAR_Y)
        if not (reach < x < width - reach and reach < y < height - reach):
            np.clip(uv[:, :SIDE], 0, width - 1, out=uv[:, :SIDE])
            np.clip(uv[:, SIDE:], 0, height - 1, out=uv[:, SIDE:])
        np.copyto(texel[0], uv[:, :SIDE], casting="unsafe")
        np.copyto(texel[1], uv[:, SIDE:], casting="unsafe")
        np.multiply(texel[1], width, out=texel[1])
        np.add(texel[0], texel[1], out=self._where)
        # mode="clip" only spares numpy a buffer: every index is inside.
        world.ravel().take(self._where, out=self._index, mode="clip")
        color = self._packed.take(self._index, out=self._color, mode="clip")  # (n, 64, 64)
        total = color[0] + color[1]
        for layer in color[2:]:
            total += layer
        lanes = total.view(np.uint8).reshape(SIDE, SIDE, 8)
        out = np.empty((SIDE, SIDE, 3), np.uint8)
        for channel in range(3):
            out[..., channel] = lanes[..., 2 * channel + 1]
        return out


@functools.cache
def _grass() -> np.ndarray:
    """The playfield without a track: a chequerboard of two greens, (MAP_SIZE, MAP_SIZE) uint8."""
    at = (np.arange(MAP_SIZE) + 0.5) / TEXELS - HALF
    inside = np.abs(at) < original.PLAYFIELD
    light = inside & (np.floor(at / original.GRASS_DIM) % 2 == 0)
    field = GRASS * (inside[:, None] & inside).astype(np.uint8)
    field[light[:, None] & light] = LIGHT_GRASS
    return field


# A map that a closed environment gave back. The first touch of 16 MB of new memory takes longer
# than painting a track, and `wmlib.collecting.collect` makes an environment for each episode.
_spare_maps: list[np.ndarray] = []


def _a_map() -> np.ndarray:
    """Memory for a map, (MAP_SIZE, MAP_SIZE) uint8, with anything in it."""
    try:
        return _spare_maps.pop()
    except IndexError:
        return np.empty_like(_grass())


@functools.lru_cache(maxsize=8192)
def _sprite(zoom: float, wheel: int | None, angle: int = 0, phase: int = 0) -> np.ndarray:
    """The hull (wheel None) or what is seen of one wheel: (9, 4, 4) float32, cover and RGB.

    Args:
        zoom: window pixels for one playfield unit.
        wheel: index into the official WHEELPOS.
        angle: steering angle in steps of 1 / ANGLE_STEPS rad.
        phase: how far the wheel has rolled, in turns / PHASE_STEPS.
    """
    left, top, right, bottom = BOX
    surface = pygame.Surface((right - left, bottom - top), 0, 8)

    def draw(
        color: int,
        outline: Sequence[tuple[float, float]],
        x: int = 0,
        y: int = 0,
        turn: float = 0.0,
    ) -> None:
        cos, sin, scale = math.cos(turn), math.sin(turn), zoom * car_dynamics.SIZE
        points = [
            (
                CAR_X - left + scale * (x + cos * px - sin * py),
                bottom - CAR_Y + scale * (y + sin * px + cos * py),
            )
            for px, py in outline
        ]
        pygame.draw.polygon(surface, color, points)

    if wheel is not None:
        x, y = car_dynamics.WHEELPOS[wheel]
        w, r, turn = car_dynamics.WHEEL_W, car_dynamics.WHEEL_R, angle / ANGLE_STEPS
        draw(WHEEL, [(-w, r), (w, r), (w, -r), (-w, -r)], x, y, turn)
        ends = _stripe(2 * math.pi * (phase + 0.5) / PHASE_STEPS)
        if ends is not None:
            a, b = ends
            draw(STRIPE, [(-w, r * a), (w, r * a), (w, r * b), (-w, r * b)], x, y, turn)
    for outline in (
        car_dynamics.HULL_POLY1,
        car_dynamics.HULL_POLY2,
        car_dynamics.HULL_POLY3,
        car_dynamics.HULL_POLY4,
    ):
        draw(HULL if wheel is None else 0, outline)  # the hull hides some of the wheel
    drawn = pygame.surfarray.array2d(surface).T[::-1]  # pygame's y is up here, as officially
    colors = [HULL, WHEEL, STRIPE]
    parts = drawn == np.array(colors)[:, None, None]
    rows, columns = ROW_WEIGHTS[BOX_ROWS, top:bottom], COLUMN_WEIGHTS[BOX_COLUMNS, left:right]
    cover = np.moveaxis(rows @ parts @ columns.T, 0, -1)  # (9, 4, 3)
    sprite = np.concatenate([cover.sum(-1, keepdims=True), cover @ _palette()[colors]], axis=-1)
    return sprite.astype(np.float32)


def _stripe(phase: float) -> tuple[float, float] | None:
    """Where the grey stripe of a rolling wheel begins and ends, in wheel radii; None: hidden."""
    first, last = phase, phase + 1.2
    if math.sin(first) > 0 and math.sin(last) > 0:
        return None
    a, b = math.cos(first), math.cos(last)
    return (
        math.copysign(1, a) if math.sin(first) > 0 else a,
        math.copysign(1, b) if math.sin(last) > 0 else b,
    )


class CarView:
    """One environment's map and the camera on its car."""

    def __init__(self) -> None:
        palette = _palette()
        self._near = Sampler(palette, 4)
        self._far = Sampler(palette, 16)
        self._map: np.ndarray | None = None
        self._tiles: list[list[tuple[int, list[tuple[float, float]]]]] = []

    def paint(self, road_poly: list[tuple[list[tuple[float, float]], Iterable[float]]]) -> None:
        """Paint a new track: the official ``road_poly``, tiles and kerbs in drawing order."""
        if self._map is None:
            self._map = _a_map()
            self._surface = pygame.image.frombuffer(
                self._map.data, self._map.shape, "P"
            )  # shares memory
        np.copyto(self._map, _grass())
        self._tiles = []
        for outline, color in road_poly:
            if outline[0] == outline[1]:
                continue  # a kerb between two tiles that do not turn has no width
            points = _narrowed(outline)
            if isinstance(color, tuple):  # a kerb, which belongs to the tile before it
                self._tiles[-1].append((WHITE if color[1] else RED, points))
            else:
                self._tiles.append([(ROAD + len(self._tiles) % SHADES, points)])
        for tile in self._tiles:
            for index, points in tile:
                pygame.draw.polygon(self._surface, index, points)

    def release(self) -> None:
        """Give the map back: until `paint` is called again there is nothing to see."""
        if self._map is not None and not _spare_maps:
            _spare_maps.append(self._map)
        self._map = None

    def mark_visited(self, tile: int) -> None:
        """Repaint a tile that the car has touched: it loses its shade, as officially."""
        self._tiles[tile][0] = (ROAD, self._tiles[tile][0][1])
        for index, points in self._tiles[tile]:
            pygame.draw.polygon(self._surface, index, points)

    def draw(
        self, x: float, y: float, angle: float, zoom: float, wheels: list[tuple[float, float]]
    ) -> np.ndarray:
        """The frame, (64, 64, 3) uint8.

        Args:
            x, y, angle: of the car's hull [units, rad].
            zoom: window pixels for one playfield unit.
            wheels: (steering angle, rolling phase) [rad] of each of the four wheels.
        """
        assert self._map is not None
        sampler = self._near if zoom > 8 else self._far
        out = sampler.look(
            self._map, (x + HALF) * TEXELS, (y + HALF) * TEXELS, angle, TEXELS / zoom
        )
        car = _sprite(zoom, None)
        for i, (turn, phase) in enumerate(wheels):
            step = int(phase * (PHASE_STEPS / (2 * math.pi))) % PHASE_STEPS
            car = car + _sprite(zoom, i, round(turn * ANGLE_STEPS), step)
        patch = out[BOX_ROWS, BOX_COLUMNS]
        patch[...] = patch * (1 - car[..., :1]) + car[..., 1:] + 0.5
        return out


def _narrowed(outline: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """A quadrilateral (left, right, right, left) as texels, less what filling adds to its sides."""
    points = []
    for end, other in ((0, 1), (1, 0), (2, 3), (3, 2)):
        (x, y), (ox, oy) = outline[end], outline[other]
        inwards = GROWTH / math.hypot(ox - x, oy - y)
        x, y = x + (ox - x) * inwards, y + (oy - y) * inwards
        points.append(((x + HALF) * TEXELS, (y + HALF) * TEXELS))
    return points
