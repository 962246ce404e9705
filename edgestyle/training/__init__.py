"""Training: perceptual losses, photos, and the loop that turns a painting into a network."""
