"""What the demos share: the engine that dreams, the packing of weights, controls and stills."""
