"""The networks: `transformer`, and on top of it a reward model or value network (`scalar_model`) or a `probe`."""
