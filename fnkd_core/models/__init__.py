"""Networks and the one contract they meet: images in, `Outputs` out."""
