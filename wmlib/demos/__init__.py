"""Demos that live in the page: widgets whose browser side runs our trained weights by itself."""

from wmlib.demos.drive import DriveTheDream as DriveTheDream
from wmlib.demos.explorer import DreamQualityExplorer as DreamQualityExplorer
from wmlib.demos.latents import LatentSliders as LatentSliders
from wmlib.demos.playground import Playground as Playground
