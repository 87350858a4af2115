"""The loop over a scene's blocks: read ahead, fuse, store behind."""

import sys
import time
from collections.abc import Sequence

import jax
import numpy as np

from rsfusion_jax.inference.scene.ahead import Ahead
from rsfusion_jax.inference.scene.engines import Engine
from rsfusion_jax.inference.scene.journal import Store
from rsfusion_jax.inference.scene.memory import Plan
from rsfusion_jax.inference.scene.pixels import Pixels
from rsfusion_jax.inference.scene.progress import Stage


def fuse_blocks(
    engine: Engine, plan: Plan, pixels: Pixels, store: Store, mine: Sequence[int], quiet: bool
) -> dict[str, float]:
    """Reads, fuses and stores every block that is not there yet.

    Args:
        engine: with its weights or coefficients.
        plan: blocks and the compiled engine.
        pixels: how they are stored.
        store: where to.
        mine: indices of the blocks to do.
        quiet: no progress on the screen.

    Returns:
        Seconds of reading and of writing in their threads, of moving arrays to the device and back,
        of waiting for the device, and of all.
    """
    windows, batch = plan.windows, plan.batch
    # Groups are the same in a resumed run: nothing depends on where the first one ended.
    groups = [mine[start : start + batch] for start in range(0, len(mine), batch)]
    left = [group for group in groups if not set(group) <= set(store.lines)]
    area = [block.rows.size * block.columns.size for block in windows.blocks]
    total = sum(area[index] for index in mine)
    done = total - sum(area[index] for group in left for index in group)
    state = jax.device_put(engine.state)
    reader, writer = Ahead(workers=2, depth=2), Ahead(workers=1, depth=2)
    sent = waited = fetched = 0.0

    def read(group):
        blocks = [windows.blocks[index] for index in group]
        samples, valids = zip(*(windows.read(block) for block in blocks), strict=True)
        samples = [*samples, *[samples[-1]] * (batch - len(samples))]
        stacked = {key: np.stack([sample[key] for sample in samples]) for key in samples[0]}
        return blocks, stacked, valids

    def keep(blocks, valids, fused, lms_sum, stage):
        nonlocal waited, fetched
        begin = time.perf_counter()
        jax.block_until_ready((fused, lms_sum))
        ready = time.perf_counter()
        fused, lms_sum = np.asarray(fused), np.asarray(lms_sum, np.float64)
        waited, fetched = waited + ready - begin, fetched + time.perf_counter() - ready
        for block, valid, image, sums in zip(blocks, valids, fused, lms_sum, strict=False):
            core = image[block.core]
            planes, clipped = pixels.convert(core, valid)
            counted = {
                "valid": int(valid.sum()),
                "fused": core[valid].sum(axis=0, dtype=np.float64).tolist(),
                "lms": sums.sum(axis=0).tolist(),
                "clipped": clipped,
            }
            store.write(block.index, planes, counted)
            stage.advance(area[block.index])

    begin = time.perf_counter()
    try:
        with Stage("fusing", total, done, quiet) as stage:
            for blocks, stacked, valids in reader.map(read, left):
                start = time.perf_counter()
                # The device goes on with the blocks before while this one is sent.
                stacked = jax.block_until_ready(jax.device_put(stacked))
                sent += time.perf_counter() - start
                writer.put(keep, blocks, valids, *plan.run(state, stacked), stage)
            writer.drain()
    except KeyboardInterrupt:
        share = sum(area[index] for index in store.lines) / total
        print(
            f"interrupted at {share:.0%}, nothing is written yet; --resume goes on from there, "
            "without it the scene begins anew",
            file=sys.stderr,
        )
        raise
    finally:
        reader.close()
        writer.close()
    return {
        "read": reader.seconds,
        "transfer": sent + fetched,
        "device": waited,
        "write": writer.seconds - waited - fetched,
        "fuse": time.perf_counter() - begin,
    }
