"""A training run of seconds."""

from configs import fusionnet


def tiny_config():
    """A run of seconds: two small scenes, patches of 16 pixels, a network that compiles quickly."""
    config = fusionnet.get_config("synthetic")
    config.name = "tiny"
    config.data.patch_size = 16
    config.data.crops_per_sample = 4
    config.data.synthetic.update(train_scenes=2, valid_scenes=1, test_scenes=2, size=32)
    config.train.update(batch_size=8, steps=6, epochs=0)
    config.train.update(log_every=2, eval_every=3, checkpoint_every=3)
    config.optim.warmup_steps = 1
    config.eval.update(batch_size=2, methods=("brovey",))
    config.mesh.devices = 1
    return config
