#!/bin/bash
# Owns the start of the mysql image: the official image's variables and phases. The test-only variables are told of in
# setup.sh.
set -eo pipefail
shopt -s nullglob
# shellcheck source=setup.sh
source /usr/local/lib/testbed/setup.sh
# shellcheck source=mysql-family.sh
source /usr/local/lib/testbed/mysql-family.sh

product=MySQL client=mysql admin=mysqladmin
setup_options=()

initialize() { "$@" --initialize-insecure --default-time-zone=SYSTEM; }

load_time_zones() {
    [[ -z $MYSQL_INITDB_SKIP_TZINFO ]] || return 0
    mysql_tzinfo_to_sql /usr/share/zoneinfo 2>/dev/null | docker_process_sql --database=mysql
}

[[ ${1:0:1} != - ]] || set -- mysqld "$@"
if [[ $1 != mysqld ]] || wants_help "$@"; then exec "$@"; fi

data=$(server_option datadir "$@")
socket=$(server_option socket "$@")
if [[ $(id -u) == 0 ]]; then drop_root mysql "$data /var/run/mysqld" "$@"; fi

if [[ ! -d ${data%/}/mysql ]]; then
    setting MYSQL_ROOT_HOST %
    for name in MYSQL_DATABASE MYSQL_USER MYSQL_PASSWORD MYSQL_ROOT_PASSWORD; do setting "$name"; done
    {
        root_host=$MYSQL_ROOT_HOST database=$MYSQL_DATABASE user=$MYSQL_USER password=$MYSQL_PASSWORD user_host=%
        new_root_password=$MYSQL_ROOT_PASSWORD allow_empty=$MYSQL_ALLOW_EMPTY_PASSWORD random_root=$MYSQL_RANDOM_ROOT_PASSWORD
    }
    check_settings MYSQL
    set_up "$@"
fi
exec "$@"
