#!/bin/sh
# One pilot for each GPU of a partition: each is a job of its own with one device, and says which (CUDA_VISIBLE_DEVICES).
# What is judged are CPU kernels on the CPUs beside the device; a partition of that kind is used because its nodes are
# there, or because they are the hosts that the kernels are for.
#
#     examples/cluster/gpu.sh PARTITION GPUS [options of attune evolve]
set -eu
partition=$1 gpus=$2
shift 2
exec attune evolve --executor slurm --slots "$gpus" \
    --set "executor.options=--partition=$partition --gres=gpu:1 --cpus-per-task=4" "$@"
