"""CarRacing, the article's world, drawn fast enough to learn from: Gymnasium's physics, our eyes.

The official environment spends 98 % of a step drawing a 1000 x 800 picture that it then shrinks
to 96 x 96. `FastCarRacing` inherits its physics, rewards and tracks unchanged and replaces only
the drawing (`wmlib.envs.car_racing.view`): the observation is the picture that Ha & Schmidhuber
(2018, section A.1) give to V, rows 0 to 83 of the official frame (all but the bar of dials),
area-resized to 64 x 64.

>>> import gymnasium, wmlib
>>> env = gymnasium.make("wmlib/CarRacing-v3", action_repeat=2)
>>> observation, info = env.reset(seed=0)
>>> observation.shape, len(info["car"])
((64, 64, 3), 7)
"""

from __future__ import annotations

import math
import os
from typing import Any, Literal

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # before pygame is imported below

import numpy as np
from gymnasium import spaces
from gymnasium.envs.box2d import car_racing as original
from gymnasium.error import ResetNeeded
from gymnasium.utils import EzPickle

from wmlib.envs.car_racing.official import SIDE
from wmlib.envs.car_racing.view import CarView
from wmlib.typed import PositiveInt, typed

CAR_FIELDS = ("x", "y", "heading", "speed", "lateral", "road_angle", "curvature")
"""What ``info["car"]`` holds, in this order (see `FastCarRacing`)."""

NO_TRACK = "step needs a track: call reset first (a copied or closed environment has none)"

LOOK_AHEAD = 8  # tiles over which the curvature of the road ahead is taken: 28 units


class FastCarRacing(original.CarRacing):
    """CarRacing-v3 (continuous actions, default colours) with 64 x 64 observations.

    Observation: (64, 64, 3) uint8 in 0..255. Action: (3,) float, steer in [-1, 1], gas in [0, 1],
    brake in [0, 1]. Reward: the official one, -0.1 for each physics frame, +1000/N for each of
    the N tiles of the track when first touched, -100 for leaving the playfield.

    ``info`` of every step: ``frames`` (physics frames in this step), ``new_tiles`` (tiles first
    touched in this step; the first step also counts the tiles the car stands on, whose reward it
    pays out) and ``car``, (7,) float32 as named by `CAR_FIELDS`:
    position x, y [playfield units], heading [rad, 0 = up the map, anticlockwise], speed [units/s],
    signed offset to the right of the centre line [units], heading relative to the road [rad], and
    mean curvature of the next 28 units of road [rad/unit, positive = to the left].
    At the end of an episode the official ``lap_finished`` is there too. ``info`` of `reset` has
    ``car`` and ``tiles`` (number of tiles of the track).

    ``metadata["render_fps"]`` is 50 / ``action_repeat``: a film of one picture a step (Gymnasium's
    `RecordVideo`) plays as fast as the car drives. Box2D's world cannot be copied: a copy, deep or
    by pickle, is a new environment with the same arguments, and needs `reset`.

    Args:
        action_repeat: physics frames for which a step repeats its action (>= 1). Rewards are
            summed; frames between are not drawn; a termination ends the step early.
        max_frames: physics frames after which an episode is truncated (>= 1; official: 1000).
        render_mode: None, or "rgb_array" for the official 400 x 600 picture from `render`.

    Raises:
        ValueError: for any other ``action_repeat``, ``max_frames`` or ``render_mode``.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": original.FPS}  # noqa: RUF012

    @typed
    def __init__(
        self,
        action_repeat: PositiveInt = 1,
        max_frames: PositiveInt = 1000,
        render_mode: Literal["rgb_array"] | None = None,
    ) -> None:
        super().__init__(render_mode=render_mode)
        EzPickle.__init__(self, action_repeat, max_frames, render_mode)
        self.action_repeat = int(action_repeat)
        self.max_frames = int(max_frames)
        self.metadata = {**self.metadata, "render_fps": original.FPS / self.action_repeat}
        self.observation_space = spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
        self._view = CarView()
        self._frames = 0
        self._tiles_reported = 0
        self._settling = False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Make a new track and put the car on it.

        Args:
            seed: of the track; the same seed gives the official environment's track.
            options: none are known; ignored.

        Returns:
            The first observation, (64, 64, 3) uint8, and ``info`` with ``car`` and ``tiles``.
        """
        self._frames = 0
        self._tiles_reported = 0
        self._settling = True
        super().reset(seed=seed, options=options)
        self._settling = False
        track = np.asarray(self.track)  # (N, 4): alpha, beta, x, y
        self._road_angle, self._road_x, self._road_y = track[:, 1], track[:, 2], track[:, 3]
        turn = np.roll(self._road_angle, -LOOK_AHEAD) - self._road_angle
        turn = (turn + math.pi) % (2 * math.pi) - math.pi
        self._curvature = turn / (LOOK_AHEAD * original.TRACK_DETAIL_STEP)
        return self._observe(), {"car": self._car_state(), "tiles": len(self.track)}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Drive `action_repeat` frames with one action.

        Args:
            action: (3,) finite numbers: steer, gas, brake. As officially, gas is clipped.

        Returns:
            observation (64, 64, 3) uint8, summed reward, terminated, truncated, info.

        Raises:
            ValueError: for an action of another shape or with a number that is not finite.
            gymnasium.error.ResetNeeded: there is no track yet: `reset` was not called, or not
                since this environment was closed, or copied from another.
        """
        if self.car is None:
            raise ResetNeeded(NO_TRACK)
        if self._settling:  # the official reset() ends in a frame without action
            settled: tuple[np.ndarray, float, bool, bool, dict[str, Any]]
            settled = super().step(action)
            return settled
        action = _checked(action)
        total, frames = 0.0, 0
        while True:
            _, reward, terminated, _, info = super().step(action)
            total += float(reward)
            frames += 1
            self._frames += 1
            truncated = self._frames >= self.max_frames
            if terminated or truncated or frames == self.action_repeat:
                break
        info["frames"] = frames
        info["new_tiles"] = self.tile_visited_count - self._tiles_reported
        info["car"] = self._car_state()
        self._tiles_reported = self.tile_visited_count
        return self._observe(), total, terminated, truncated, info

    def close(self) -> None:
        """Let go of the track; to go on, call `reset`."""
        super().close()
        self._destroy()
        self.car = None
        self._view.release()

    def _create_track(self) -> bool:
        made: bool = super()._create_track()
        if made:
            self._view.paint(self.road_poly)
            self._unvisited: list[Any] = list(self.road or ())
        return made

    def _render(self, mode: str) -> np.ndarray | None:
        # The official step() asks for "state_pixels" at every frame: the drawing that we spare.
        return None if mode == "state_pixels" else super()._render(mode)

    def _observe(self) -> np.ndarray:
        if len(self.track) - self.tile_visited_count < len(self._unvisited):
            for tile in self._unvisited:
                if tile.road_visited:
                    self._view.mark_visited(tile.idx)
            self._unvisited = [tile for tile in self._unvisited if not tile.road_visited]
        # The official camera falls from high above the track during the first second.
        fallen = min(self.t, 1.0)
        zoom = original.SCALE * (0.1 * (1 - fallen) + original.ZOOM * fallen)
        assert self.car is not None
        hull = self.car.hull
        wheels = [(wheel.joint.angle, wheel.phase) for wheel in self.car.wheels]
        x, y = hull.position
        frame = self._view.draw(x, y, hull.angle, zoom, wheels)
        self.state = frame
        return frame

    def _car_state(self) -> np.ndarray:
        assert self.car is not None
        hull = self.car.hull
        x, y = hull.position
        i = int(np.argmin(np.square(self._road_x - x) + np.square(self._road_y - y)))
        angle = float(self._road_angle[i])
        vx, vy = hull.linearVelocity
        lateral = (x - self._road_x[i]) * math.cos(angle) + (y - self._road_y[i]) * math.sin(angle)
        heading = math.remainder(hull.angle, 2 * math.pi)
        off_road = math.remainder(hull.angle - angle, 2 * math.pi)
        fields = (x, y, heading, math.hypot(vx, vy), lateral, off_road, self._curvature[i])
        return np.array(fields, dtype=np.float32)  # (7,)


def _checked(action: Any) -> np.ndarray:
    """The action as (3,) float64, or one clear error."""
    try:
        checked = np.asarray(action, dtype=np.float64)
    except (TypeError, ValueError):
        checked = np.empty(0)
    if checked.shape != (3,) or not math.isfinite(checked[0] + checked[1] + checked[2]):
        raise ValueError(f"action must be 3 finite numbers (steer, gas, brake), got {action!r}")
    return checked
