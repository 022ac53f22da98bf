#!/usr/bin/env bash
# Trains on a Cloud TPU VM or a slice of a pod.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/lib.sh
. launch/lib.sh

usage() {
    cat <<'TEXT'
usage: launch/tpu_vm.sh COMMAND --name=NAME --zone=ZONE [OPTIONS] [-- FLAGS OF jaxgan.main...]

commands, in the order of their use; each can be typed again and does only what is missing:
  create   ask for the machines (a queued resource: it waits until there are some)
  status   the state of the request: WAITING_FOR_RESOURCES, ACTIVE, SUSPENDED (taken away), ...
  setup    copy the committed files of this checkout to all hosts and install them
  run      start the training on all hosts, under a supervisor that starts it again
  logs     follow what the first host says (--worker=N: another one)
  ssh      a shell on the first host (--worker=N)
  stop     save and stop the training; the machines stay, and cost
  delete   delete the machines and what is on their disks; asks first
  keep     create, setup and run, again whenever the machines are taken away, until the training is done

options:
  --accelerator=TYPE   e.g. v5litepod-16 (needed by create)
  --runtime=VERSION    default v2-alpha-tpuv5-lite; the version goes with the type
  --spot               cheaper machines that may be taken away at any time
  --project=ID         default: gcloud's
  --nfs=SERVER:/SHARE  a shared folder, mounted at /mnt/runs by setup; slices of several hosts need one for --workdir
  --worker=N           of logs and ssh; default 0
  --yes                do not ask
  --dry_run            print the commands and do nothing

example:
  launch/tpu_vm.sh create --name=sagan --zone=us-west4-a --accelerator=v5litepod-16 --spot
  launch/tpu_vm.sh setup  --name=sagan --zone=us-west4-a --nfs=10.0.0.2:/runs
  launch/tpu_vm.sh run    --name=sagan --zone=us-west4-a -- --config=configs/sagan_imagenet.py --workdir=/mnt/runs/sagan
TEXT
}

extra=tpu first_zone=us-west4-a accelerator="" runtime=v2-alpha-tpuv5-lite

own_option() {
    case "$1" in
        --accelerator=*) accelerator="${1#*=}" ;;
        --runtime=*) runtime="${1#*=}" ;;
        --nfs=*) nfs="${1#*=}" ;;
        --worker=*) worker="${1#*=}" ;;
        *) return 1 ;;
    esac
}

meaning() {
    case "$1" in
        '') echo none ;;
        ACTIVE) echo ready ;;
        SUSPENDED | FAILED) echo gone ;;
        *) echo waiting ;;
    esac
}

copy() { run gcloud compute tpus tpu-vm scp "$1" "$name:jaxgan.tar.gz" "${place[@]}" --worker=all; }

remote() {
    local host=$1
    shift
    run gcloud compute tpus tpu-vm ssh "$name" "${place[@]}" --worker="$host" "${@/#/--command=}"
}

create() {
    [ -n "$accelerator" ] || die "--accelerator is missing, e.g. --accelerator=v5litepod-16"
    local found=""
    $dry_run || found=$(state)
    case "$(meaning "$found")" in
        none) ;;
        gone) die "$name is $found: its machines are gone; 'delete' it, then create it again" ;;
        *) echo "$name exists already: $found"; return ;;
    esac
    local kind=()
    if $spot; then kind=(--spot); fi
    run gcloud compute tpus queued-resources create "$name" "${place[@]}" --node-id="$name" \
        --accelerator-type="$accelerator" --runtime-version="$runtime" "${kind[@]}"
}

# --force also deletes the machines of the request.
destroy() { run gcloud compute tpus queued-resources delete "$name" "${place[@]}" --force --quiet; }

read_arguments "$@"
look=(gcloud compute tpus queued-resources describe "$name" "${place[@]}" --format='value(state.state)')
obey
