#!/usr/bin/env bash
# Measure the library on a machine with a GPU, in about eight minutes.
#
#     bash benchmarks/gpu.sh [FOLDER] [PART ...]
#
# Rows go to JSON files in FOLDER (default benchmarks/results) as soon as each is measured, and what
# the programs print to FOLDER/gpu.log: a run that is cut short still counts. Every part has a time
# limit of its own; one that fails or is stopped does not keep the next from running. The parts, in
# order of what is least known:
#
#   accuracy   every network's output and gradients beside its golden, in four arithmetics
#   attention  cuDNN's attention beside ours
#   networks   training step and inference of the seven networks
#   peers      the same in float32, TF32 and bfloat16 beside eager and compiled PyTorch
#   training   whole runs: quality by arithmetic, share of time that steps wait for data
#   scenes     `rsfusion fuse` on a scene
#   metrics    metrics and classical methods beside NumPy
#   input      the input pipeline by itself
#
# TINY=1 takes the smallest sizes, to rehearse it on CPUs in a few minutes.
set -uo pipefail
cd "$(dirname "$0")/.."
folder=${1:-benchmarks/results}
parts=${*:2}
parts=${parts:-accuracy attention networks peers training scenes metrics input}
mkdir -p "$folder"
python=${PYTHON:-python3}
export PYTHONUNBUFFERED=1 PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
# Several processes share the GPU: none may take all of its memory at once.
export XLA_PYTHON_CLIENT_PREALLOCATE=false TF_CPP_MIN_LOG_LEVEL=2

cores=$(nproc)
if [ -n "${TINY:-}" ]; then
    accuracy=(--networks=pannet,pnn)
    attention=(--shapes=short)
    networks=(--networks=ramsf --batch=1 --rounds=1)
    peers=(--networks=ramsf --batch=1 --rounds=1 --modes=inference)
    training=(--networks=ramsf --arithmetics=float32,bfloat16 --steps=60)
    limit=0
    scenes=(--side=256 --methods=bdsd_pc,anysensor)
    metrics=(--images=2 --side=64 --rounds=1 --only=sam,gsa)
    input=(--samples=64 --turns=1 --batches=2 --workers=0)
else
    accuracy=()
    attention=()
    networks=(--networks=ddif,mmapp,u2net,rsanet,feinfn,cf2n,ramsf)
    peers=(--networks=ddif,mmapp,u2net,rsanet,feinfn,cf2n,ramsf)
    training=(--networks=ramsf,u2net --steps=1000 --batch=32)
    limit=150
    scenes=(--side=4096 --methods=bdsd_pc,anysensor,pannet,u2net)
    metrics=()
    input=(--samples=1024 --turns=2 --batches=24 --workers=0,4)
fi

# measure NAME SECONDS PROGRAM ARGUMENT ...
measure() {
    local name=$1 seconds=$2 program=$3 begun=$SECONDS status=0
    case " $parts " in *" $name "*) ;; *) return ;; esac
    echo "== $name: $program ${*:4}" >>"$folder/gpu.log"
    timeout --kill-after=5 "$seconds" "$python" -m "$program" "${@:4}" >>"$folder/gpu.log" 2>&1 || status=$?
    echo "$name: status $status after $((SECONDS - begun)) s"
}

measure accuracy 150 benchmarks.studies.gpu_accuracy --processes="$cores" \
    --out="$folder/gpu_accuracy.json" "${accuracy[@]}"
measure attention 60 benchmarks.studies.gpu_attention --out="$folder/gpu_attention.json" \
    "${attention[@]}"
measure networks 200 benchmarks.speed.speed --together --limit="$limit" --peers= --dtypes=tf32 \
    --out="$folder/speed_gpu.json" "${networks[@]}"
for mode in train inference; do
    measure peers 200 benchmarks.speed.speed --together --limit="$limit" --dtypes=tf32,bfloat16,float32 \
        --modes=$mode --out="$folder/speed_gpu.json" "${peers[@]}"
done
measure training 120 benchmarks.studies.gpu_training --out="$folder/gpu_training.json" "${training[@]}"
measure scenes 60 benchmarks.speed.scene_speed --out="$folder/scene_speed_gpu.json" "${scenes[@]}"
measure metrics 40 benchmarks.speed.metrics_speed --out="$folder/metrics_speed_gpu.json" "${metrics[@]}"
measure input 40 benchmarks.speed.input_pipeline --out="$folder/input_pipeline_gpu.json" "${input[@]}"
