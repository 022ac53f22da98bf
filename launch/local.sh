#!/usr/bin/env bash
# Trains with several processes on this machine.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'TEXT'
usage: launch/local.sh [OPTIONS] -- --config=configs/digits.py [FLAGS OF jaxgan.main...]

  --processes=N      how many processes (default 2); GPUs are divided evenly among them
  --gpus=0,1,2,3     which GPUs (default: CUDA_VISIBLE_DEVICES, else all that nvidia-smi lists; "" = none)
  --port=P           at which process 0 listens (default: a free one)
  --max_restarts=M   start all again after an abnormal end, at most M times in a row (default 10)
  --logs=FOLDER      what the processes say, one file each (default launch_logs)
  --python=PROGRAM   default python
  --dry_run          print the commands and do nothing

One process with all GPUs is as fast on most machines, and simpler: `python -m jaxgan.main`. Several are for trying out
what a cluster will do. When one process ends abnormally the others end too, and all go on from the newest checkpoint.
Ctrl-C and SIGTERM save and stop. Exit status: that of the run (0 done, 2 a mistake in the flags).
TEXT
}

processes=2 gpus=auto port=0 max_restarts=10 logs=launch_logs python=python dry_run=false once=false
options=()
while [ $# -gt 0 ]; do
    case "$1" in
        --processes=*) processes="${1#*=}" ;;
        --gpus=*) gpus="${1#*=}" ;;
        --port=*) port="${1#*=}" ;;
        --max_restarts=*) max_restarts="${1#*=}" ;;
        --logs=*) logs="${1#*=}" ;;
        --python=*) python="${1#*=}" ;;
        --dry_run) dry_run=true ;;
        --once) once=true ;; # what keep_running.sh starts
        -h | --help) usage; exit 0 ;;
        --) shift; break ;;
        *) echo "local.sh: unknown argument '$1'; see --help" >&2; exit 2 ;;
    esac
    options+=("$1")
    shift
done
[ $# -gt 0 ] || { echo "local.sh: the flags of jaxgan.main are missing after --; see --help" >&2; exit 2; }
case "$processes" in '' | 0 | *[!0-9]*) echo "local.sh: --processes (=$processes) must be 1 or more" >&2; exit 2 ;; esac

if [ "$gpus" = auto ]; then
    if [ -n "${CUDA_VISIBLE_DEVICES+set}" ]; then
        gpus=$CUDA_VISIBLE_DEVICES
    else
        gpus=$(nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null | paste -sd, - || true)
    fi
fi
list=()
[ -z "$gpus" ] || IFS=, read -ra list <<<"$gpus"
share=$((${#list[@]} / processes))
if [ "${#list[@]}" -gt 0 ] && [ $((share * processes)) -ne "${#list[@]}" ]; then
    echo "local.sh: ${#list[@]} GPUs ($gpus) cannot be divided among --processes (=$processes); choose with --gpus" >&2
    exit 2
fi

if ! $once && ! $dry_run; then
    exec ./launch/keep_running.sh --max_restarts="$max_restarts" -- \
        ./launch/local.sh "${options[@]}" --once -- "$@"
fi

# A port that was free a moment ago; a new one for every start.
[ "$port" -ne 0 ] || port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')
$dry_run || mkdir -p "$logs"
children=() signalled=false
trap 'signalled=true; for child in "${children[@]}"; do kill -TERM "$child" 2>/dev/null || true; done' TERM INT
for ((i = 0; i < processes; i++)); do
    command=("$python" -m jaxgan.main "$@" "--coordinator=localhost:$port" "--num_processes=$processes" "--process_id=$i"
        --stopped_status=75)
    mine=()
    if [ "$share" -gt 0 ]; then mine=("CUDA_VISIBLE_DEVICES=$(IFS=,; echo "${list[*]:i*share:share}")"); fi
    if $dry_run; then
        printf '%q ' env "${mine[@]}" "${command[@]}"
        echo ">>$logs/process_$i.log 2>&1 &"
    elif [ "$i" -eq 0 ]; then
        env "${mine[@]}" "${command[@]}" > >(tee -i -a "$logs/process_0.log") 2>&1 &
        children+=($!)
    else
        env "${mine[@]}" "${command[@]}" >>"$logs/process_$i.log" 2>&1 &
        children+=($!)
    fi
done

# The run's status: a mistake (2) wins over other failures, which win over polite stops (75), which win over 0.
worst=0
for child in "${children[@]}"; do
    status=0
    wait "$child" || status=$?
    while $signalled; do # a signal ends `wait` with a status of its own, whether or not the process still runs
        signalled=false status=0
        wait "$child" || status=$?
    done
    if [ "$status" -eq 2 ]; then
        worst=2
    elif [ "$worst" -ne 2 ] && [ "$status" -ne 0 ] && { [ "$worst" -eq 0 ] || [ "$worst" -eq 75 ]; }; then
        worst=$status
    fi
done
exit "$worst"
