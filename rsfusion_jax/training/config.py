"""Every field of a training run: what it means and its default value.

The defaults together are the quickstart: FusionNet on built-in synthetic scenes, trained in minutes
on two CPU cores. Recipes (`configs/`) and adaptation state what differs from them.
"""

import ml_collections
from ml_collections.config_dict import FieldReference, placeholder


def default_config() -> ml_collections.ConfigDict:
    """Return a new config of the quickstart, with all fields that a run can have.

    A `placeholder` is a field without a value (None) that takes values of one type only.
    """
    config = ml_collections.ConfigDict()
    config.name = "quickstart"  # the run folder is runs/<name> unless --workdir names another
    config.seed = 0  # of the initial weights, the order of the data, crops and synthetic scenes

    # The network: `name` is one of those that `rsfusion models` lists, all other fields are fields
    # of its module. The numbers of bands and the ratio are not written here: the data set has them.
    config.model = ml_collections.ConfigDict()
    config.model.name = "fusionnet"

    # The weights to start from, instead of the authors' random initialisation: a run folder, one of
    # its checkpoints, the authors' .pth file, or "default", the packaged weights of the network
    # anysensor. Every tensor must fit.
    config.init_from = ""
    config.init_optimizer = False  # also take Adam's moments from a .pth file that has them

    config.data = data = ml_collections.ConfigDict()
    data.sensor = "wv4"  # a name of rsfusion_jax.list_sensors(), or "" with data.own_sensor
    data.own_sensor = placeholder(dict)  # e.g. {"bands": [..], "mtf_ms": [..], "bit_depth": 12}
    # Each data set is an .h5 or .mat file of PanCollection, HyperPanCollection, CAVE or Harvard
    # (`rsfusion convert` writes one that is read faster), a folder of SEN12MS-CR, or "synthetic".
    data.train = "synthetic"
    data.valid = "synthetic"  # "" trains without validation
    data.test = "synthetic"  # "" ends the run without scoring it
    data.ratio = placeholder(int)  # PAN pixels per MS pixel; unset: the sensor's
    data.max_value = placeholder(float)  # divisor of files that state none; unset: the sensor's
    data.axes = placeholder(str)  # order of the axes of files, as "NCHW"; unset: what fits
    data.patch_size = 32  # side of a training crop in PAN pixels; 0 takes whole images
    data.crops_per_sample = 16  # crops of each image in one epoch
    data.augment = "none"  # or "d4": flips and quarter turns; `ms` then comes from `lms`
    data.workers = 0  # loader processes; 0 reads in threads, which is faster on few cores

    # Built-in scenes, rendered from the seed when they are needed and never written to disk.
    data.synthetic = synthetic = ml_collections.ConfigDict()
    synthetic.train_scenes = 40
    synthetic.valid_scenes = 4
    synthetic.test_scenes = 8
    synthetic.size = 96  # side of the ground truth in pixels
    synthetic.guide = "pan"  # or "rgb", "msi4", "sar"; "sar" with data.ratio=1 is cloud removal
    synthetic.num_bands = placeholder(int)  # number of narrow bands; unset: the sensor's own bands
    synthetic.cameras = "sensor"  # or "drawn": each scene has a camera of its own
    synthetic.nuisances = False  # misregistration, noise, saturation and random gains
    synthetic.pan_degradation = "imresize"  # or "mtf_centred", or "mixed": drawn for each scene

    # Folders of SEN12MS-CR.
    data.sen12ms_cr = sen12 = ml_collections.ConfigDict()
    sen12.task = "cloud_removal"  # or "sar_sharpening" of the cloud-free image, by 4 if no ratio
    sen12.bands = ()  # e.g. ("B2", "B3", "B4", "B8"); (): all 13, for sharpening those of 10 m
    sen12.split_rule = "official"  # or "scenes": the seed draws a tenth each for valid and test
    sen12.holes = "fill"  # nodata and NaN take the nearest pixel; or "leave_out" such patches
    sen12.normalisation = "sen12mscr"  # or "uncrtaints", or "own": the three ranges below
    sen12.vv = (-25.0, 0.0)  # backscatter in dB that becomes 0 and 1
    sen12.vh = (-32.5, 0.0)
    sen12.s2_max = 10000.0  # Sentinel-2 count that becomes 1

    config.train = train = ml_collections.ConfigDict()
    # Or "deep_supervision" (a loss for each stage), "diffusion", "distillation" (of a diffusion
    # network into fewer steps), "any_camera" (MS made anew in every step, with another blur and
    # ratio). "full_resolution" works with `rsfusion fuse --adapt` only.
    train.objective = "supervised"
    # Or "mse", "l1ssim", "relative" (each band divided by its mean); "of_exp" with "any_camera".
    train.loss = "l1"
    train.full_resolution = 0.0  # weight of the loss at full resolution; with `--adapt` only
    train.teacher_steps = 8  # "distillation": teacher steps that one student step replaces
    train.batch_size = 4  # images per step, over all devices
    train.steps = 1500  # 0: computed from train.epochs
    train.epochs = 0  # with train.steps=0: passes over the training set
    train.accumulate = 1  # micro-batches per step, whose gradients are averaged
    train.remat = False  # compute activations twice: less memory, more time
    train.dtype = "float32"  # of the computation; with "bfloat16" the parameters stay float32
    # Precision of float32 products and convolutions in training. On NVIDIA GPUs since Ampere
    # "default" and "high" mean TF32: factors are rounded to a mantissa of 10 bits instead of 23.
    # "highest" is float32 on every device; validation and evaluation always use it.
    train.precision = "default"
    train.ema_decay = 0.0  # decay of the moving average of the weights; 0: no average
    train.ema_start = 0  # until this step the average is a copy of the weights
    train.ema_warmup = False  # raise the decay to ema_decay as 1 - (1 + step)^(-2/3)
    # Who gets losses, scores and pictures besides metrics.jsonl: "tensorboard", "wandb" (Weights &
    # Biases) and "mlflow", each with its package installed; (): nobody.
    train.trackers = ("tensorboard",)
    train.log_every = 200  # steps between lines of the log
    # Blocks of the network whose outputs each validation draws in TensorBoard, for two images, such
    # as "fd2r,fscfm*"; "": none, which costs nothing.
    train.log_features = ""
    train.eval_every = 500  # steps between validations; the best checkpoint is stored as well
    train.checkpoint_every = 500  # steps between checkpoints: what a killed run can lose at most
    # What happens when the loss is not finite: "stop" ends the run; "rollback" resumes the last
    # checkpoint with other data, at most max_rollbacks times per start of the program.
    train.on_bad_loss = "stop"
    train.spike = 0.0  # also bad: a loss this many times the median of the last 100; 0: none is
    train.max_rollbacks = 3

    # Diffusion networks only.
    config.diffusion = diffusion = ml_collections.ConfigDict()
    diffusion.schedule = "cosine"  # or "linear", "quad", "warmup10", "warmup50", "const", "jsd"
    diffusion.steps = 500  # length of the noise schedule
    diffusion.sampler = "ddim"  # for validation and test; or "ddpm", "dpm1", "dpm2", "dpm3"
    diffusion.sampling_steps = 25  # number of sampler steps; 0: as many as the schedule has
    diffusion.timestep_index = "original"  # or "respaced", as in the authors' code
    diffusion.self_condition = "none"  # or "x0": the network sees its estimate of the last step
    # Divisor of the residual gt - lms before noise is added: 1 as published, another number, or
    # "data" for its standard deviation in the training set. It is stored with the weights, and runs
    # with init_from take it from there.
    diffusion.residual_scale = FieldReference(1.0, field_type=object)

    config.optim = optim = ml_collections.ConfigDict()
    optim.name = "adam"  # or "adamw", "sgd"
    optim.learning_rate = 2e-3
    optim.weight_decay = 0.0  # decoupled for adamw; else added to the gradient, as in PyTorch
    optim.clip_norm = 0.0  # largest global norm of the gradient; 0: unlimited
    optim.schedule = "cosine"  # or "constant", "cosine_periodic", "step", "milestones"
    optim.warmup_steps = 50  # steps in which the rate rises from 0
    optim.final_rate = 0.0  # learning rate at the end of a cosine
    optim.period_epochs = 300  # "cosine_periodic": epochs from the highest rate to the lowest
    optim.step_epochs = 100  # "step": multiply the rate by gamma after each of these many epochs
    optim.milestones = ()  # "milestones": epochs after which the rate is multiplied by gamma
    optim.milestone_steps = ()  # the same, in steps
    optim.gamma = 0.5

    config.eval = evaluation = ml_collections.ConfigDict()
    evaluation.batch_size = 4  # images scored at once; each image counts exactly once
    evaluation.best_metric = "ERGAS"  # the metric that decides which checkpoint is the best
    evaluation.methods = ("brovey", "gsa", "bt_h")  # classical methods in the final table

    # Batches are spread over all devices. Parameters, optimiser state and moving average are copied
    # to each device, or sharded: 8 devices with shard_params_over=4 have two copies of them.
    config.mesh = mesh = ml_collections.ConfigDict()
    mesh.devices = 0  # number of devices; 0: all
    mesh.shard_params_over = 1  # a divisor of the number of devices
    return config
