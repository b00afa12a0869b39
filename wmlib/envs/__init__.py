"""The environments of the book, registered with Gymnasium by name.

Only the names are registered here; an environment's own module (and with it Box2D and pygame)
is imported when `gymnasium.make` first asks for it.

A process that has not imported wmlib does not know the names: a worker that was spawned, such as
those of stable-baselines3's `SubprocVecEnv`. Gymnasium 1.0 did away with entry points for plugins.
In its place an id can say which module to import first, in any process:

>>> import gymnasium
>>> env = gymnasium.make("wmlib:wmlib/CarRacing-v3")
"""

import gymnasium

gymnasium.register(
    id="wmlib/CarRacing-v3",
    entry_point="wmlib.envs.car_racing.fast:FastCarRacing",
    # Truncation is the environment's own business: it counts physics frames, not steps.
    max_episode_steps=None,
)
gymnasium.register(
    id="wmlib/OfficialCarRacing-v3",
    entry_point="wmlib.envs.car_racing.official:OfficialCarRacing",
    max_episode_steps=None,  # the official environment inside has its own limit of 1000 frames
)
gymnasium.register(id="wmlib/DynaMaze-v0", entry_point="wmlib.envs.maze:Maze")
gymnasium.register(id="wmlib/BlockingMaze-v0", entry_point="wmlib.envs.maze:blocking_maze")
gymnasium.register(id="wmlib/ShortcutMaze-v0", entry_point="wmlib.envs.maze:shortcut_maze")
gymnasium.register(
    id="wmlib/PixelCatch-v0",
    entry_point="wmlib.envs.catch:PixelCatch",
    vector_entry_point="wmlib.envs.catch_vector:PixelCatchVector",
)
gymnasium.register(
    id="wmlib/WindyPixelCatch-v0",
    entry_point="wmlib.envs.catch:PixelCatch",
    vector_entry_point="wmlib.envs.catch_vector:PixelCatchVector",
    kwargs={"wind": 0.1},
)
gymnasium.register(
    id="wmlib/PixelPendulum-v0",
    entry_point="wmlib.envs.pendulum:PixelPendulum",
    max_episode_steps=None,  # its own business: it counts physics steps, not decisions
)
for _game in ("asterix", "breakout", "freeway", "seaquest", "space_invaders"):
    for _version in (0, 1):
        _id = f"MinAtar/{_game.title().replace('_', '')}-v{_version}"
        if _id not in gymnasium.registry:  # else the package has registered it
            gymnasium.register(
                id=_id,
                entry_point="wmlib.envs.minatar:make",
                kwargs={"game": _game, "use_minimal_action_set": _version == 1},
            )
