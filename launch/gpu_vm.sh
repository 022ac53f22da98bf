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

command=${1:-}
case "$command" in
    -h | --help | '') usage; [ -n "$command" ] && exit 0 || exit 2 ;;
    create | status | setup | run | logs | ssh | stop | delete | keep) shift ;;
    *) die "there is no command '$command'; see --help" ;;
esac
name="" zone="" machine=g2-standard-16 disk=200GB project=""
image_family=ubuntu-accelerator-2204-amd64-with-nvidia-570 image_project=ubuntu-os-accelerator-images
spot=false yes=false dry_run=false poll=60
while [ $# -gt 0 ]; do
    case "$1" in
        --name=*) name="${1#*=}" ;;
        --zone=*) zone="${1#*=}" ;;
        --machine=*) machine="${1#*=}" ;;
        --image_family=*) image_family="${1#*=}" ;;
        --image_project=*) image_project="${1#*=}" ;;
        --disk=*) disk="${1#*=}" ;;
        --project=*) project="${1#*=}" ;;
        --poll=*) poll="${1#*=}" ;; # seconds between the looks of keep
        --spot) spot=true ;;
        --yes) yes=true ;;
        --dry_run) dry_run=true ;;
        -h | --help) usage; exit 0 ;;
        --) shift; break ;;
        *) die "unknown argument '$1'; see --help" ;;
    esac
    shift
done
[ -n "$name" ] || die "--name is missing; see --help"
[ -n "$zone" ] || die "--zone is missing, e.g. --zone=us-central1-a"
flags=("$@")
place=(--zone="$zone")
[ -z "$project" ] || place+=(--project="$project")

state() { gcloud compute instances describe "$name" "${place[@]}" --format='value(status)' 2>/dev/null || true; }

on_host() { run gcloud compute ssh "$name" "${place[@]}" --command="$1"; }

create() {
    local found=""
    $dry_run || found=$(state)
    case "$found" in
        '') ;;
        TERMINATED | STOPPED) run gcloud compute instances start "$name" "${place[@]}"; return ;;
        *) echo "$name exists already: $found"; return ;;
    esac
    local kind=()
    if $spot; then kind=(--provisioning-model=SPOT --instance-termination-action=STOP); fi
    # GPUs cannot move to another host while they run.
    run gcloud compute instances create "$name" "${place[@]}" --machine-type="$machine" \
        --image-family="$image_family" --image-project="$image_project" --boot-disk-size="$disk" \
        --maintenance-policy=TERMINATE "${kind[@]}"
}

setup() {
    local archive
    archive=$(mktemp -d "${TMPDIR:-/tmp}/jaxgan.XXXXXX")/jaxgan.tar.gz
    pack "$archive"
    run gcloud compute scp "$archive" "$name:jaxgan.tar.gz" "${place[@]}"
    rm -rf "$(dirname "$archive")"
    on_host "$(remote_setup cuda)"
}

start() {
    [ "${#flags[@]}" -gt 0 ] || die "the flags of jaxgan.main are missing after --"
    on_host "$(remote_run "${flags[@]}")"
}

delete() {
    if ! $dry_run && [ -z "$(state)" ]; then echo "$name does not exist"; return; fi
    confirm "delete $name and all that is on its disk?"
    run gcloud compute instances delete "$name" "${place[@]}" --quiet
}

keep() {
    [ "${#flags[@]}" -gt 0 ] || die "the flags of jaxgan.main are missing after --"
    if $dry_run; then create; setup; start; return; fi
    local ready=false found status
    while true; do
        found=$(state)
        case "$found" in
            RUNNING)
                # A machine that has just been started may refuse the first connections.
                $ready || { setup && start && ready=true; } || echo "$name does not answer yet"
                status=$(gcloud compute ssh "$name" "${place[@]}" --command='cat jaxgan-status 2>/dev/null || true' 2>/dev/null || true)
                if $ready && [ -n "$status" ]; then
                    echo "the training ended with status $status; the machine still costs: launch/gpu_vm.sh delete"
                    exit "$status"
                fi
                ;;
            '' | TERMINATED | STOPPED) create; ready=false ;;
            *) echo "$name is $found" ;;
        esac
        sleep "$poll"
    done
}

case "$command" in
    create) create ;;
    status) run gcloud compute instances describe "$name" "${place[@]}" --format='value(status)' ;;
    setup) setup ;;
    run) start ;;
    logs) on_host "journalctl -u jaxgan -o cat -n 100 -f" ;;
    ssh) run gcloud compute ssh "$name" "${place[@]}" ;;
    stop) on_host "sudo systemctl stop jaxgan || true" ;;
    delete) delete ;;
    keep) keep ;;
esac
