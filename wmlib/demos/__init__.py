"""Demos that live in the page: widgets whose browser side runs our trained weights by itself."""

from wmlib.demos.drive import DriveTheDream as DriveTheDream
from wmlib.demos.latents import LatentSliders as LatentSliders
