"""Drive in the diffusion dream: a reader at the wheel of a denoiser."""
