#!/bin/sh
# What a shell script does, in its kindest form: nothing is written through to the disk, nothing is shut down gracefully.
set -eu
bin=$1 port=$2 data=$PWD/data
"$bin/initdb" --no-sync --auth=trust -U postgres -D "$data" >init.log
"$bin/pg_ctl" -D "$data" -l server.log -w -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=$PWD" start >start.log
"$bin/pg_ctl" -D "$data" -m immediate -w stop >stop.log
rm -r "$data" ./*.log
