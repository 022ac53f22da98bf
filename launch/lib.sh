# shellcheck shell=bash
# What tpu_vm.sh and gpu_vm.sh share. Sourced, never run: they set dry_run and yes.
# shellcheck disable=SC2154

die() { echo "${0##*/}: $*" >&2; exit 2; }

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

# pack FILE: the committed files of this checkout.
pack() { run git archive --format=tar.gz --prefix=jaxgan/ --output="$1" HEAD; }

# remote_setup EXTRA [NFS]: prints the commands that install the code beside its own environment, on each machine. Done
# twice they change nothing. EXTRA is cuda or tpu; NFS is SERVER:/SHARE, mounted at /mnt/runs.
remote_setup() {
    local extra=$1 nfs=${2:-}
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
