"""Every field of a training run, with its default: together they are the quickstart.

    python train.py

trains a small U2Net on built-in synthetic scenes: under five minutes on two CPU cores. The other
files of this folder hold what differs for one network and its published recipe.
"""

import ml_collections
from ml_collections.config_dict import placeholder


def get_config() -> ml_collections.ConfigDict:
    """The quickstart."""
    config = ml_collections.ConfigDict()
    config.name = "quickstart"  # the run folder is runs/<name> unless --workdir says otherwise
    config.seed = 0  # of initialisation, data order, crops and synthetic scenes

    # The network: `name` is one of `rsfusion models`, the rest are fields of its module. Bands,
    # guide and ratio are not written here: they follow from the data.
    config.model = ml_collections.ConfigDict()
    config.model.name = "u2net"
    config.model.dim = 16
    config.model.dim_head = 8

    # Where training starts instead of the authors' initialisation: a run folder, one checkpoint in
    # it, the authors' .pth file, or "default": the packaged weights, of the network bandwise.
    # Strict: every tensor must fit.
    config.init_from = ""
    config.init_optimizer = False  # take Adam's moments too, from an authors' .pth that has them

    config.data = data = ml_collections.ConfigDict()
    data.sensor = "wv4"  # one of rsfusion_jax.sensors, or "" and a record in data.own_sensor
    data.own_sensor = placeholder(dict)  # e.g. {"bands": [..], "mtf_ms": [..], "bit_depth": 12}
    # A file of PanCollection, HyperPanCollection or CAVE / Harvard (.h5 or .mat; `rsfusion convert`
    # makes one that is read faster), a folder of SEN12MS-CR, or "synthetic" for built-in scenes.
    data.train = "synthetic"
    data.valid = "synthetic"  # "" trains without validation
    data.test = "synthetic"  # "" ends without the table
    data.ratio = placeholder(int)  # PAN pixels per MS pixel; unset: the sensor's
    data.max_value = placeholder(float)  # divisor of files that state none; unset: the sensor's
    data.patch_size = 24  # PAN pixels along a side of a training crop; 0: whole samples
    data.crops_per_sample = 16  # crops taken from one sample in one epoch
    data.augment = "none"  # or "d4": flips and quarter turns, `ms` re-made from the turned `lms`
    data.workers = 0  # loader processes; 0 reads in threads, which is faster on few cores

    # Built-in scenes: rendered on demand from a seed, never written to disk.
    data.synthetic = synthetic = ml_collections.ConfigDict()
    synthetic.train_scenes = 40
    synthetic.valid_scenes = 4
    synthetic.test_scenes = 8
    synthetic.size = 96  # `gt` pixels along a side
    synthetic.guide = "pan"  # or "rgb", "msi4", "sar"; "sar" at data.ratio=1 is cloud removal
    synthetic.num_bands = placeholder(int)  # hyperspectral: this many narrow bands; unset: sensor's
    synthetic.cameras = "sensor"  # or "drawn": another for every scene, for networks of any bands
    synthetic.nuisances = False  # misregistration, noise, saturation, drawn gains
    synthetic.pan_degradation = "imresize"  # or "mtf_centred", "mixed": drawn per scene

    # Folders of SEN12MS-CR.
    data.sen12ms_cr = sen12 = ml_collections.ConfigDict()
    sen12.task = "cloud_removal"  # or "sar_sharpening" of the clear image, data.ratio 4 if unset
    sen12.bands = ()  # names, e.g. ("B2", "B3", "B4", "B8"); (): all 13; sharpening: those of 10 m
    sen12.split_rule = "official"  # or "scenes": a tenth each for valid and test, from the seed
    sen12.holes = "fill"  # nodata and NaN: from the nearest pixel; or "leave_out" such patches
    sen12.normalisation = "sen12mscr"  # or "uncrtaints", or "own": the three ranges below
    sen12.vv = (-25.0, 0.0)  # dB that become 0 and 1
    sen12.vh = (-32.5, 0.0)
    sen12.s2_max = 10000.0  # counts that become 1

    config.train = train = ml_collections.ConfigDict()
    # Or "deep_supervision", "diffusion", "distillation"; "full_resolution" belongs to `--adapt`.
    train.objective = "supervised"
    train.loss = "l1"  # or "mse", "l1ssim", "relative" (each band in units of its mean)
    train.full_resolution = 0.0  # weight of consistency at full resolution; for `--adapt` alone
    train.teacher_steps = 8  # "distillation": of the teacher for one of the student
    train.batch_size = 4  # over all devices
    train.steps = 3000  # 0: from epochs
    train.epochs = 0  # turned into steps by the size of the training set
    train.accumulate = 1  # micro-batches per step
    train.remat = False  # less memory, more time: activations inside blocks are computed twice
    train.dtype = "float32"  # compute dtype; "bfloat16" keeps float32 parameters
    train.precision = "default"  # matrix products: "default", "high" or "highest"
    train.ema_decay = 0.0  # 0: no moving average of the weights
    train.ema_start = 0  # until this step the average is a copy of the weights
    train.ema_warmup = False  # let the decay rise to ema_decay as 1 - (1 + step)^(-2/3)
    train.log_every = 200
    train.eval_every = 1500  # steps between validations; the best checkpoint is kept too
    train.checkpoint_every = 1000  # a kill loses at most so many steps; SIGTERM and Ctrl-C none
    # A loss that is not finite stops the run, or ("rollback") sends it back to its last checkpoint
    # to go on from there with other data, at most max_rollbacks times in one start.
    train.on_bad_loss = "stop"
    train.spike = 0.0  # a loss above so many times the median of the last 100 is bad too; 0: never
    train.max_rollbacks = 3

    # Diffusion networks only.
    config.diffusion = diffusion = ml_collections.ConfigDict()
    diffusion.schedule = "cosine"  # or "linear", "quad", "warmup10", "warmup50", "const", "jsd"
    diffusion.steps = 500  # of the schedule
    diffusion.sampler = "ddim"  # of validation and test; or "ddpm", "dpm1", "dpm2", "dpm3"
    diffusion.sampling_steps = 25  # of the schedule's steps that it takes; 0: all
    diffusion.timestep_index = "original"  # or "respaced", as the authors' code has it
    diffusion.self_condition = "none"  # or "x0": the network sees the last step's estimate

    config.optim = optim = ml_collections.ConfigDict()
    optim.name = "adam"  # or "adamw", "sgd"
    optim.learning_rate = 2e-3
    optim.weight_decay = 0.0  # adamw: decoupled; others: added to the gradient, as in PyTorch
    optim.clip_norm = 0.0  # largest global gradient norm; 0: unlimited
    optim.schedule = "cosine"  # or "constant", "cosine_periodic", "step", "milestones"
    optim.warmup_steps = 50
    optim.final_rate = 0.0  # where a cosine ends
    optim.period_epochs = 300  # "cosine_periodic": epochs from the highest rate to the lowest
    optim.step_epochs = 100  # "step": the rate is multiplied by gamma every so many epochs
    optim.milestones = ()  # "milestones": multiplied by gamma after these epochs
    optim.milestone_steps = ()  # the same in steps
    optim.gamma = 0.5

    config.eval = evaluation = ml_collections.ConfigDict()
    evaluation.batch_size = 4  # images scored at once; every image counts exactly once
    evaluation.best_metric = "ERGAS"  # what decides which checkpoint is the best
    evaluation.methods = ("brovey", "gsa", "bt_h")  # classical rows of the closing table

    config.mesh = mesh = ml_collections.ConfigDict()
    # Batches are spread over all devices. Parameters, optimiser state and averages are copied to
    # each, or sharded: 8 devices with shard_params_over = 4 hold two copies of them.
    mesh.devices = 0  # devices to use; 0: all
    mesh.shard_params_over = 1  # divides the number of devices
    return config
