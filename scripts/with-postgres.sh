#!/bin/sh
# Runs a command beside a throwaway Postgres: `scripts/with-postgres.sh cargo test --test it store`.
# The command finds it in ASSIZE_TEST_POSTGRES. Nothing is left behind; a Postgres already named there is used as is.
set -eu

if [ $# -eq 0 ]; then
    echo "usage: $0 COMMAND [ARGUMENT...]" >&2
    exit 2
fi
if [ -n "${ASSIZE_TEST_POSTGRES:-}" ]; then
    exec "$@"
fi

find_bin() {
    # Debian keeps one folder per major version and puts only the client tools on the path.
    for folder in $(ls -d /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /opt/homebrew/opt/postgresql*/bin 2>/dev/null | sort -rV); do
        if [ -x "$folder/initdb" ]; then
            echo "$folder"
            return
        fi
    done
    found=$(command -v initdb || true)
    if [ -n "$found" ]; then dirname "$(readlink -f "$found")"; fi
}

bin=$(find_bin)
if [ -z "$bin" ]; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
        echo "$0: no initdb found; install Postgres (Debian: apt-get install postgresql)" >&2
        exit 1
    fi
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql >&2
    bin=$(find_bin)
fi

folder=$(mktemp -d "${TMPDIR:-/tmp}/assize-pg.XXXXXX")
# Postgres refuses to run as root.
if [ "$(id -u)" -eq 0 ]; then
    chown postgres "$folder"
    as_owner() { (cd "$folder" && runuser -u postgres -- "$@"); }
else
    as_owner() { "$@"; }
fi

stop() {
    as_owner "$bin/pg_ctl" -D "$folder/data" -m immediate -s stop 2>/dev/null || true
    rm -rf "$folder"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

as_owner "$bin/initdb" -D "$folder/data" -U assize -A trust -E UTF8 --locale=C -N >/dev/null
# No TCP at all: the socket lies in the folder, so that no port can collide with another cluster.
if ! as_owner "$bin/pg_ctl" -D "$folder/data" -s -w -l "$folder/log" \
    -o "-c listen_addresses='' -c unix_socket_directories='$folder' -c max_connections=200" start; then
    cat "$folder/log" >&2
    exit 1
fi

ASSIZE_TEST_POSTGRES="postgres://assize@localhost/postgres?host=$folder"
export ASSIZE_TEST_POSTGRES
"$@"
