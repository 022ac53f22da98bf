#!/usr/bin/env bash
# Runs a command again until it is done. The other scripts of this folder use it; so can you.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: keep_running.sh [--max_restarts=N] [--wait=SECONDS] [--dry_run] -- COMMAND...

Runs COMMAND and looks at its exit status:
  0    done: ends with 0
  2    a mistake in the command, which another start would repeat: ends with 2
  75   stopped politely, or a peer ended: starts again, without counting (see below)
  else starts again, up to N times in a row (default 10)

It waits SECONDS (default 5) before each start, twice as long after each failure in a row, at most 5 minutes. A start
that lasted 10 minutes ends the row. Polite stops count as failures only when they come within a minute of the start.
Give training commands --stopped_status=75, so that a stop can be told from the end.

SIGTERM and SIGINT are handed to COMMAND, which saves and stops; it is not started again, and 75 becomes 0.
TEXT
}

max_restarts=10 wait_seconds=5 dry_run=false
while [ $# -gt 0 ]; do
    case "$1" in
        --max_restarts=*) max_restarts="${1#*=}" ;;
        --wait=*) wait_seconds="${1#*=}" ;;
        --dry_run) dry_run=true ;;
        -h | --help) usage; exit 0 ;;
        --) shift; break ;;
        *) echo "keep_running.sh: unknown argument '$1'; see --help" >&2; exit 2 ;;
    esac
    shift
done
[ $# -gt 0 ] || { echo "keep_running.sh: no command was given; see --help" >&2; exit 2; }
case "$max_restarts$wait_seconds" in
    *[!0-9]*) echo "keep_running.sh: --max_restarts and --wait take whole numbers" >&2; exit 2 ;;
esac
if $dry_run; then
    printf '%q ' "$@"
    echo
    exit 0
fi

child="" asked=false signalled=false
stop() {
    asked=true signalled=true
    [ -z "$child" ] || kill -s "$1" "$child" 2>/dev/null || true
}
trap 'stop TERM' TERM
trap 'stop INT' INT

row=0
while true; do
    began=$SECONDS status=0
    "$@" &
    child=$!
    wait "$child" || status=$?
    # A signal ends `wait` with a status of its own. The command may have ended since, so whether it still runs does not
    # tell whose status it was.
    while $signalled; do
        signalled=false status=0
        wait "$child" || status=$?
    done
    child=""
    lasted=$((SECONDS - began))
    if $asked && [ "$status" -eq 75 ]; then exit 0; fi # stopped as asked, and saved
    case "$status" in 0 | 2) exit "$status" ;; esac
    if $asked; then exit "$status"; fi
    if [ "$lasted" -ge 600 ] || { [ "$status" -eq 75 ] && [ "$lasted" -ge 60 ]; }; then row=0; else row=$((row + 1)); fi
    if [ "$row" -gt "$max_restarts" ]; then
        echo "keep_running.sh: ended with status $status, $row times in a row; giving up" >&2
        exit "$status"
    fi
    pause=$((wait_seconds << (row > 6 ? 6 : row > 0 ? row - 1 : 0)))
    [ "$pause" -le 300 ] || pause=300
    echo "keep_running.sh: ended with status $status after $lasted s; starting again in $pause s (failure $row of $max_restarts)" >&2
    sleep "$pause" &
    wait $! || true
    if $asked; then exit "$status"; fi
done
