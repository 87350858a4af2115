"""What a compiled program starts is counted with its loops expanded."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from benchmarks.speed import hlo

GPU_PROGRAM = """\
HloModule jit_step, is_scheduled=true

%fused (param: f32[8]) -> f32[8] {
  %param = f32[8]{0} parameter(0)
  %negate = f32[8]{0} negate(%param)
  ROOT %exp = f32[8]{0} exponential(%negate)
}

%sliced_product (param.1: f32[8]) -> (f32[8], s8[4]) {
  %param.1 = f32[8]{0} parameter(0)
  ROOT %product = (f32[8]{0}, s8[4]{0}) custom-call(%param.1), custom_call_target="__cublas$gemm"
}

%inner_body (state.1: (s32[], f32[8])) -> (s32[], f32[8]) {
  %state.1 = (s32[], f32[8]{0}) parameter(0)
  %x.1 = f32[8]{0} get-tuple-element(%state.1), index=1
  %kernel = f32[8]{0} fusion(%x.1), kind=kLoop, calls=%fused
  %reduced = f32[8]{0} all-reduce-start(%kernel), to_apply=%add
  %done = f32[8]{0} all-reduce-done(%reduced)
  ROOT %next.1 = (s32[], f32[8]{0}) tuple(%x.1, %done)
}

%outer_body (state: (s32[], /*index=1*/f32[8])) -> (s32[], f32[8]) {
  %state = (s32[], /*index=1*/f32[8]{0}) parameter(0)
  %convolution = (f32[8]{0}, u8[0]{0}) custom-call(%state), custom_call_target="__cudnn$convForward"
  ROOT %inner = (s32[], f32[8]{0}) while(%state), condition=%less, body=%inner_body, \
backend_config={"known_trip_count":{"n":"5"},"known_init_step":{"init":"0","step":"1"}}
}

%until_small (state.2: f32[8]) -> f32[8] {
  %state.2 = f32[8]{0} parameter(0)
  ROOT %spectrum = f32[8]{0} fft(%state.2), fft_type=FFT, fft_length={8}
}

%short (a: f32[8]) -> f32[8] {
  %a = f32[8]{0} parameter(0)
  ROOT %copied = f32[8]{0} copy(%a)
}

%long (b: f32[8]) -> f32[8] {
  %b = f32[8]{0} parameter(0)
  %first = f32[8]{0} fusion(%b), kind=kLoop, calls=%fused
  ROOT %second = f32[8]{0} fusion(%first), kind=kLoop, calls=%fused
}

%scattered (c: f32[8]) -> f32[1] {
  %c = f32[8]{0} parameter(0)
  ROOT %scatter = f32[1]{0} reduce-scatter(%c), dimensions={0}, to_apply=%add
}

ENTRY %main (p: f32[8], q: s32[]) -> f32[8] {
  %p = f32[8]{0} parameter(0)
  %q = s32[] parameter(1)
  %outer = (s32[], f32[8]{0}) while(%p), condition=%less, body=%outer_body, \
backend_config={"known_trip_count":{"n":"3"}}
  %sliced = (f32[8]{0}, s8[4]{0}) fusion(%p), kind=kCustom, calls=%sliced_product
  %choice = f32[8]{0} conditional(%q, %p, %p), branch_computations={%short, %long}
  %unknown = f32[8]{0} while(%choice), condition=%small, body=%until_small
  %started = ((f32[8]{0}), f32[1]{0}) async-start(%unknown), calls=%scattered
  %ended = f32[1]{0} async-done(%started)
  ROOT %result = f32[8]{0} bitcast(%unknown)
}
"""


def test_loops_of_a_gpu_program_are_expanded():
    counts = hlo.count(GPU_PROGRAM)
    # Per outer iteration a convolution and 5 x (kernel, all-reduce); then the product, the longer
    # branch, one Fourier transform and the reduce-scatter.
    assert counts.launches == 3 * (1 + 5 * 2) + 1 + 2 + 1 + 1
    assert counts.collectives == {"all-reduce": 15, "reduce-scatter": 1}
    assert counts.libraries == {"cuDNN": 3, "cuBLAS": 1, "cuFFT": 1}
    assert (counts.conditionals, counts.unknown_loops) == (1, 1)


def test_loops_of_a_program_that_jax_compiled_are_expanded():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))

    def count(length):
        def each_device(x):
            def outer(x, _):
                inner = lambda x, _: (jnp.sin(jax.lax.pmean(jnp.cos(x), "data")), None)  # noqa: E731
                return jax.lax.scan(inner, jnp.tanh(x), length=length)[0], None

            return jax.lax.scan(outer, x, length=3)[0]

        split = jax.shard_map(
            each_device, mesh=mesh, in_specs=P("data"), out_specs=P("data"), check_vma=False
        )
        x = jax.ShapeDtypeStruct((64, 16), jnp.float32)
        return hlo.count(jax.jit(split).lower(x).compile().as_text())

    six, seven, nine = map(count, (6, 7, 9))
    assert nine.collectives == {"all-reduce": 3 * 9}
    assert seven.launches > six.launches
    assert nine.launches - seven.launches == 2 * (seven.launches - six.launches)
    assert nine.unknown_loops == 0
