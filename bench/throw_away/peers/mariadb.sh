#!/bin/sh
# What a shell script does: a query every 100 ms until one is answered, and a shutdown.
set -eu
port=$1 data=$PWD/data
client() { mariadb --no-defaults --socket="$data/socket" --user=root "$@"; }
command -v mariadb >/dev/null || { echo 'error: there is no mariadb, the client'; exit 1; }
mariadb-install-db --no-defaults --datadir="$data" --auth-root-authentication-method=normal >init.log
mariadbd --no-defaults --datadir="$data" --port="$port" --bind-address=127.0.0.1 --socket=socket >server.log 2>&1 &
until client --execute='SELECT 1' >client.log 2>&1; do sleep 0.1; done
client --execute=SHUTDOWN
wait
rm -r "$data" ./*.log
