#!/bin/sh
# A Slurm of N virtual nodes on this machine, without systemd and with nothing under /etc.
#
#     slurm_up.sh up DIR N       prints nothing; afterwards SLURM_CONF=DIR/slurm.conf
#     slurm_up.sh node DIR I     starts slurmd number I again
#     slurm_up.sh down DIR       ends what it started
#
# Ports are drawn from the process id, so that two of them can stand side by side. Exit status 77: it cannot be done here.
set -eu
PATH=$PATH:/usr/sbin:/sbin
action=$1 dir=$2
node() { slurmd -f "$dir/slurm.conf" -N "n$1"; }
case $action in
up)
    for program in slurmctld slurmd srun munged; do
        command -v "$program" >/dev/null || { echo "skip: there is no $program (Debian: slurm-wlm munge)"; exit 77; }
    done
    n=$3 host=$(hostname -s) base=$((20000 + $$ % 20000))
    mkdir -p "$dir/state" "$dir/log"
    chmod 700 "$dir"
    head -c128 /dev/urandom >"$dir/munge.key"
    chmod 600 "$dir/munge.key"
    munged --force --key-file="$dir/munge.key" --socket="$dir/munge.sock" --pid-file="$dir/munged.pid" \
        --log-file="$dir/log/munged.log" --seed-file="$dir/munge.seed" 2>"$dir/log/munged.err"
    cat >"$dir/slurm.conf" <<C
ClusterName=t
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$base
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$dir/munge.sock,cred_expire=5
CredType=cred/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool-%n
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd-%n.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdLogFile=$dir/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=100000,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
SlurmdTimeout=10
KillWait=5
GresTypes=gpu
NodeName=n[1-$n] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((base + 1))-$((base + n))] CPUs=2 RealMemory=2000 Gres=gpu:1 State=UNKNOWN
PartitionName=p Nodes=ALL Default=YES MaxTime=INFINITE State=UP
C
    echo "NodeName=n[1-$n] Name=gpu Count=1 File=/dev/tty0" >"$dir/gres.conf" # any device file makes a pretend GPU
    SLURM_CONF=$dir/slurm.conf
    export SLURM_CONF
    slurmctld
    i=1
    while [ $i -le "$n" ]; do
        mkdir -p "$dir/spool-n$i"
        node $i
        i=$((i + 1))
    done
    tries=0
    until [ "$(sinfo -h -o %T%D 2>/dev/null)" = "idle$n" ]; do
        tries=$((tries + 1))
        [ $tries -lt 200 ] || { echo "skip: Slurm did not come up here: $(tail -n 1 "$dir/log/slurmctld.log")"; exit 77; }
        sleep .1
    done
    ;;
node)
    SLURM_CONF=$dir/slurm.conf
    export SLURM_CONF
    node "$3"
    ;;
down)
    SLURM_CONF=$dir/slurm.conf
    export SLURM_CONF
    scontrol shutdown 2>/dev/null || true
    sleep 1
    for file in "$dir"/*.pid; do
        [ -f "$file" ] && kill "$(cat "$file")" 2>/dev/null || true
    done
    ;;
esac
