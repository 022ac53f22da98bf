#!/usr/bin/env bash
# Trains on a GPU machine of Google Compute Engine.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/lib.sh
. launch/lib.sh

usage() {
    cat <<'TEXT'
usage: launch/gpu_vm.sh COMMAND --name=NAME --zone=ZONE [OPTIONS] [-- FLAGS OF jaxgan.main...]

commands, in the order of their use; each can be typed again and does only what is missing:
  create   make the machine, or start it again after it was taken away
  status   the state of the machine: RUNNING, TERMINATED (off: only its disk costs), ...
  setup    copy the committed files of this checkout and install them
  run      start the training, under a supervisor that starts it again
  logs     follow what it says
  ssh      a shell
  stop     save and stop the training; the machine stays, and costs
  delete   delete the machine and its disk; asks first
  keep     create, setup and run, again whenever the machine is taken away, until the training is done

options:
  --machine=TYPE        default g2-standard-16 (one L4); a2-highgpu-8g, a3-highgpu-8g, ... bring more GPUs
  --image_family=NAME   default ubuntu-accelerator-2204-amd64-with-nvidia-570 of --image_project
  --image_project=ID    default ubuntu-os-accelerator-images
  --disk=SIZE           default 200GB; keeps the runs while the machine is off
  --spot                a cheaper machine that may be taken away at any time
  --project=ID          default: gcloud's
  --yes                 do not ask
  --dry_run             print the commands and do nothing
TEXT
}

extra=cuda first_zone=us-central1-a machine=g2-standard-16 disk=200GB
image_family=ubuntu-accelerator-2204-amd64-with-nvidia-570 image_project=ubuntu-os-accelerator-images

own_option() {
    case "$1" in
        --machine=*) machine="${1#*=}" ;;
        --image_family=*) image_family="${1#*=}" ;;
        --image_project=*) image_project="${1#*=}" ;;
        --disk=*) disk="${1#*=}" ;;
        *) return 1 ;;
    esac
}

meaning() {
    case "$1" in
        '') echo none ;;
        RUNNING) echo ready ;;
        TERMINATED | STOPPED) echo off ;;
        *) echo waiting ;;
    esac
}

copy() { run gcloud compute scp "$1" "$name:jaxgan.tar.gz" "${place[@]}"; }

remote() { shift; run gcloud compute ssh "$name" "${place[@]}" "${@/#/--command=}"; }

create() {
    local found=""
    $dry_run || found=$(state)
    case "$(meaning "$found")" in
        none) ;;
        off) run gcloud compute instances start "$name" "${place[@]}"; return ;;
        *) echo "$name exists already: $found"; return ;;
    esac
    local kind=()
    if $spot; then kind=(--provisioning-model=SPOT --instance-termination-action=STOP); fi
    # GPUs cannot move to another host while they run.
    run gcloud compute instances create "$name" "${place[@]}" --machine-type="$machine" \
        --image-family="$image_family" --image-project="$image_project" --boot-disk-size="$disk" \
        --maintenance-policy=TERMINATE "${kind[@]}"
}

destroy() { run gcloud compute instances delete "$name" "${place[@]}" --quiet; }

read_arguments "$@"
look=(gcloud compute instances describe "$name" "${place[@]}" --format='value(status)')
obey
