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

command=${1:-}
case "$command" in
    -h | --help | '') usage; [ -n "$command" ] && exit 0 || exit 2 ;;
    create | status | setup | run | logs | ssh | stop | delete | keep) shift ;;
    *) die "there is no command '$command'; see --help" ;;
esac
name="" zone="" accelerator="" runtime=v2-alpha-tpuv5-lite project="" nfs="" worker=0
spot=false yes=false dry_run=false poll=60
while [ $# -gt 0 ]; do
    case "$1" in
        --name=*) name="${1#*=}" ;;
        --zone=*) zone="${1#*=}" ;;
        --accelerator=*) accelerator="${1#*=}" ;;
        --runtime=*) runtime="${1#*=}" ;;
        --project=*) project="${1#*=}" ;;
        --nfs=*) nfs="${1#*=}" ;;
        --worker=*) worker="${1#*=}" ;;
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
[ -n "$zone" ] || die "--zone is missing, e.g. --zone=us-west4-a"
flags=("$@")
place=(--zone="$zone")
[ -z "$project" ] || place+=(--project="$project")

state() { gcloud compute tpus queued-resources describe "$name" "${place[@]}" --format='value(state.state)' 2>/dev/null || true; }

on_hosts() { run gcloud compute tpus tpu-vm ssh "$name" "${place[@]}" --worker="$1" --command="$2"; }

create() {
    [ -n "$accelerator" ] || die "--accelerator is missing, e.g. --accelerator=v5litepod-16"
    local found=""
    $dry_run || found=$(state)
    case "$found" in
        '') ;;
        SUSPENDED | FAILED) die "$name is $found: its machines are gone; 'delete' it, then create it again" ;;
        *) echo "$name exists already: $found"; return ;;
    esac
    local kind=()
    if $spot; then kind=(--spot); fi
    run gcloud compute tpus queued-resources create "$name" "${place[@]}" --node-id="$name" \
        --accelerator-type="$accelerator" --runtime-version="$runtime" "${kind[@]}"
}

setup() {
    local archive
    archive=$(mktemp -d "${TMPDIR:-/tmp}/jaxgan.XXXXXX")/jaxgan.tar.gz
    pack "$archive"
    run gcloud compute tpus tpu-vm scp "$archive" "$name:jaxgan.tar.gz" "${place[@]}" --worker=all
    rm -rf "$(dirname "$archive")"
    on_hosts all "$(remote_setup tpu "$nfs")"
}

start() {
    [ "${#flags[@]}" -gt 0 ] || die "the flags of jaxgan.main are missing after --"
    on_hosts all "$(remote_run "${flags[@]}")"
}

delete() {
    if ! $dry_run && [ -z "$(state)" ]; then echo "$name does not exist"; return; fi
    confirm "delete $name and all that is on its disks?"
    # --force also deletes the machines of the request.
    run gcloud compute tpus queued-resources delete "$name" "${place[@]}" --force --quiet
}

keep() {
    [ "${#flags[@]}" -gt 0 ] || die "the flags of jaxgan.main are missing after --"
    if $dry_run; then create; setup; start; return; fi
    local ready=false found status
    while true; do
        found=$(state)
        case "$found" in
            ACTIVE)
                $ready || { setup; start; ready=true; }
                status=$(gcloud compute tpus tpu-vm ssh "$name" "${place[@]}" --worker=0 \
                    --command='cat jaxgan-status 2>/dev/null || true' 2>/dev/null || true)
                if [ -n "$status" ]; then
                    echo "the training ended with status $status; the machines still cost: launch/tpu_vm.sh delete"
                    exit "$status"
                fi
                ;;
            SUSPENDED | FAILED)
                echo "$name is $found; asking for new machines"
                yes=true
                delete
                ready=false
                continue
                ;;
            '') create; ready=false ;;
            *) echo "$name is $found" ;;
        esac
        sleep "$poll"
    done
}

case "$command" in
    create) create ;;
    status) run gcloud compute tpus queued-resources describe "$name" "${place[@]}" --format='value(state.state)' ;;
    setup) setup ;;
    run) start ;;
    logs) on_hosts "$worker" "journalctl -u jaxgan -o cat -n 100 -f" ;;
    ssh) run gcloud compute tpus tpu-vm ssh "$name" "${place[@]}" --worker="$worker" ;;
    stop) on_hosts all "sudo systemctl stop jaxgan || true" ;;
    delete) delete ;;
    keep) keep ;;
esac
