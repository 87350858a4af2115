"""Do all parts of CF2N learn? Gradient norms per element after 50 steps, by part.

    python -m benchmarks.studies.cf2n_balance [--channels=16] [--steps=50]

Run from the clone's root. Data: none, training is on built-in scenes.

The norms of FD2R, FSCFM and MDI should lie within a factor of ten of one another. They are printed;
no file is written.
"""

import jax
import numpy as np
import optax

from benchmarks.command_line import parser
from rsfusion_jax.data.pipeline import Cached, train_dataset
from rsfusion_jax.data.synthetic import SyntheticScenes
from rsfusion_jax.models import create_model, init_params
from rsfusion_jax.training.objectives import make_objective

PARTS = ("fd2r", "fscfm", "mdi")


def main() -> None:
    """Train on built-in scenes and print the norms."""
    flags = parser(__doc__)
    flags.add_argument("--channels", type=int, default=16)
    flags.add_argument("--steps", type=int, default=50)
    flags.add_argument("--learning-rate", type=float, default=3e-4)
    options = flags.parse_args()
    source = Cached(SyntheticScenes("wv3", num_scenes=8, size=96))
    batches = iter(train_dataset(source, batch_size=4, patch_size=32, seed=0))
    model = create_model("cf2n", num_bands=source.info.num_bands, channels=options.channels)
    params = init_params(model, jax.random.key(0))
    optimizer = optax.adam(options.learning_rate)
    objective = make_objective("supervised", "l1")

    @jax.jit
    def step(params, state, batch):
        def loss_fn(params):
            return objective(model, params, batch, jax.random.key(0))[0]

        loss, grads = jax.value_and_grad(loss_fn)(params)
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state, loss, grads

    state, norms = optimizer.init(params), []
    for number in range(options.steps + 10):
        params, state, loss, grads = step(params, state, next(batches))
        if number >= options.steps:
            norms.append([_per_element(grads, part) for part in PARTS])
    print(f"L1 {float(loss):.4f}; norms per element, mean over ten steps:")
    for part, norm in zip(PARTS, np.mean(norms, axis=0), strict=True):
        print(f"  {part:<8} {norm:.2e}")


def _per_element(grads, part: str) -> float:
    modules = [tree for name, tree in grads.items() if name.startswith(part)]
    values = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(modules)])
    return float(np.sqrt(np.square(values).mean()))


if __name__ == "__main__":
    main()
