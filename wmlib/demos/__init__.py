"""Demos that live in the page: widgets whose browser side runs our trained weights by itself."""

from wmlib.demos.catch_dream.catch_dream import CatchDream as CatchDream
from wmlib.demos.diffusion_drive.diffusion_drive import DiffusionDrive as DiffusionDrive
from wmlib.demos.drive.drive import DriveTheDream as DriveTheDream
from wmlib.demos.explorer.explorer import DreamQualityExplorer as DreamQualityExplorer
from wmlib.demos.latents.latents import LatentSliders as LatentSliders
from wmlib.demos.muzero_board.muzero_board import PlayConnectFour as PlayConnectFour
from wmlib.demos.muzero_board.muzero_board import PlayTicTacToe as PlayTicTacToe
from wmlib.demos.playground.playground import Playground as Playground
from wmlib.demos.reward_scale.reward_scale import RewardScale as RewardScale
