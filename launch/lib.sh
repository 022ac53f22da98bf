# shellcheck shell=bash
# What tpu_vm.sh and gpu_vm.sh share. Sourced, never run. Each brings of its own
#   usage                      prints its help
#   own_option ARGUMENT        takes an option that it alone has; fails on others
#   look                       the cloud's command that prints the state of the machines
#   meaning STATE              prints ready, waiting, off (create starts them), gone (to be deleted first) or none
#   copy FILE                  to all hosts, as jaxgan.tar.gz
#   remote HOST [COMMAND]      runs it on host 0, 1, ... or all; without it a shell
#   create, destroy            the machines
#   extra, first_zone          the package's extra to install; an example
# shellcheck disable=SC2034,SC2154

name="" zone="" project="" nfs="" worker=0 spot=false yes=false dry_run=false poll=60

die() { echo "${0##*/}: $*" >&2; exit 2; }

# read_arguments ARGUMENTS...: sets command, the variables above, place (gcloud's arguments) and flags (of jaxgan.main).
read_arguments() {
    command=${1:-}
    case "$command" in
        -h | --help | '') usage; [ -n "$command" ] && exit 0 || exit 2 ;;
        create | status | setup | run | logs | ssh | stop | delete | keep) shift ;;
        *) die "there is no command '$command'; see --help" ;;
    esac
    while [ $# -gt 0 ]; do
        case "$1" in
            --name=*) name="${1#*=}" ;;
            --zone=*) zone="${1#*=}" ;;
            --project=*) project="${1#*=}" ;;
            --poll=*) poll="${1#*=}" ;; # seconds between the looks of keep
            --spot) spot=true ;;
            --yes) yes=true ;;
            --dry_run) dry_run=true ;;
            -h | --help) usage; exit 0 ;;
            --) shift; break ;;
            *) own_option "$1" || die "unknown argument '$1'; see --help" ;;
        esac
        shift
    done
    [ -n "$name" ] || die "--name is missing; see --help"
    [ -n "$zone" ] || die "--zone is missing, e.g. --zone=$first_zone"
    place=(--zone="$zone")
    [ -z "$project" ] || place+=(--project="$project")
    flags=("$@")
    case "$command" in
        run | keep) [ "${#flags[@]}" -gt 0 ] || die "the flags of jaxgan.main are missing after --" ;;
    esac
}

# run COMMAND...: does it, or prints it where --dry_run was given.
run() {
    if $dry_run; then
        printf '%q ' "$@"
        echo
    else
        "$@"
    fi
}

# confirm QUESTION: asks, unless --yes was given.
confirm() {
    if $yes || $dry_run; then return 0; fi
    [ -t 0 ] || die "$1 needs an answer; pass --yes"
    read -rp "$1 [y/N] " answer
    [ "$answer" = y ] || [ "$answer" = Y ] || die "nothing was done"
}

state() { "${look[@]}" 2>/dev/null || true; }

# setup: the committed files of this checkout, installed on all hosts.
setup() {
    local folder status=0
    folder=$(mktemp -d "${TMPDIR:-/tmp}/jaxgan.XXXXXX")
    {
        run git archive --format=tar.gz --prefix=jaxgan/ --output="$folder/jaxgan.tar.gz" HEAD &&
            copy "$folder/jaxgan.tar.gz" && remote all "$(remote_setup)"
    } || status=$?
    rm -rf "$folder"
    return "$status"
}

start() { remote all "$(remote_run "${flags[@]}")"; }

stop() { remote all "sudo systemctl stop jaxgan || true"; }

delete() {
    if ! $dry_run && [ -z "$(state)" ]; then echo "$name does not exist"; return; fi
    confirm "delete $name and all that is on its disks?"
    destroy
}

# keep: makes, installs and starts, again whenever the machine is taken away, until the training is done.
keep() {
    if $dry_run; then create; setup; start; return; fi
    local started=false refusals=0 found status
    while true; do
        found=$(state)
        case "$(meaning "$found")" in
            ready)
                if ! $started && setup && start; then
                    started=true refusals=0
                elif ! $started; then
                    # Machines that have just come up may refuse the first connections; others cost for nothing.
                    refusals=$((refusals + 1))
                    [ "$refusals" -lt 10 ] ||
                        die "$name could not be set up in $refusals attempts; it still costs: launch/${0##*/} delete"
                    echo "$name does not answer yet"
                fi
                if $started; then
                    status=$(remote 0 'cat jaxgan-status 2>/dev/null || true' 2>/dev/null || true)
                    if [ -n "$status" ]; then
                        echo "the training ended with status $status; the machines still cost: launch/${0##*/} delete"
                        exit "$status"
                    fi
                fi
                ;;
            gone)
                echo "$name is $found; asking for another"
                yes=true
                delete
                started=false
                continue
                ;;
            none | off) create; started=false ;;
            *) echo "$name is $found" ;;
        esac
        sleep "$poll"
    done
}

# remote_setup: prints the commands that install the code beside its own environment, and mount the share $nfs
# (SERVER:/SHARE, if any) at /mnt/runs. Done twice they change nothing.
remote_setup() {
    cat <<TEXT
set -e
tar -xzf jaxgan.tar.gz
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' && python=python3 || python=python3.11
if ! command -v "\$python" >/dev/null || ! "\$python" -c 'import ensurepip' 2>/dev/null; then
    sudo add-apt-repository -y ppa:deadsnakes/ppa
    sudo apt-get update -q
    sudo apt-get install -y -q "\$python" "\$python-venv"
fi
[ -x jaxgan-env/bin/python ] || "\$python" -m venv jaxgan-env
jaxgan-env/bin/pip install -q -e 'jaxgan[$extra]'
TEXT
    if [ -n "$nfs" ]; then
        cat <<TEXT
sudo apt-get install -y -q nfs-common
sudo mkdir -p /mnt/runs
mountpoint -q /mnt/runs || sudo mount -t nfs -o hard '$nfs' /mnt/runs
TEXT
    fi
}

# remote_run FLAGS...: prints the commands that start the training under a supervisor, unless it runs already.
remote_run() {
    local flags
    flags=$(printf '%q ' "$@")
    cat <<TEXT
set -e
if systemctl is-active -q jaxgan; then echo 'jaxgan runs already'; exit 0; fi
sudo systemctl reset-failed jaxgan 2>/dev/null || true
cat > jaxgan-run.sh <<'SCRIPT'
#!/usr/bin/env bash
rm -f "\$HOME/jaxgan-status"
./launch/keep_running.sh -- "\$HOME/jaxgan-env/bin/python" -m jaxgan.main --stopped_status=75 $flags
status=\$?
echo "\$status" > "\$HOME/jaxgan-status"
exit "\$status"
SCRIPT
chmod +x jaxgan-run.sh
sudo systemd-run --unit=jaxgan --uid="\$(id -u)" --gid="\$(id -g)" --setenv=HOME="\$HOME" \\
    --working-directory="\$HOME/jaxgan" --property=TimeoutStopSec=300 "\$HOME/jaxgan-run.sh"
TEXT
}

# obey: does the command.
obey() {
    case "$command" in
        create | setup | stop | delete | keep) "$command" ;;
        status) run "${look[@]}" ;;
        run) start ;;
        logs) remote "$worker" "journalctl -u jaxgan -o cat -n 100 -f" ;;
        ssh) remote "$worker" ;;
    esac
}
