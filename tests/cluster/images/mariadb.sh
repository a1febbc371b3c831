#!/bin/bash
# Owns the start of the mariadb image: the official image's variables and phases. A MARIADB_ variable wins over the MYSQL_
# variable of the same meaning. The test-only variables are told of in setup.sh.
set -eo pipefail
shopt -s nullglob
# shellcheck source=setup.sh
source /usr/local/lib/testbed/setup.sh
# shellcheck source=mysql-family.sh
source /usr/local/lib/testbed/mysql-family.sh

product=MariaDB client=mariadb admin=mariadb-admin
setup_options=(--wsrep-on=OFF --expire-logs-days=0)

initialize() {
    mariadb-install-db --datadir="$data" --auth-root-authentication-method=normal --skip-test-db --rpm \
        --default-time-zone=SYSTEM "${@:2}" >/dev/null
}

load_time_zones() {
    [[ -z ${MARIADB_INITDB_SKIP_TZINFO:-$MYSQL_INITDB_SKIP_TZINFO} ]] || return 0
    mariadb-tzinfo-to-sql --skip-write-binlog /usr/share/zoneinfo 2>/dev/null | docker_process_sql --database=mysql
}

# Both families of the setting $1, the MARIADB_ one first; the result is in MARIADB_$1.
either() {
    setting "MYSQL_$1"
    local fallback=MYSQL_$1
    setting "MARIADB_$1" "${!fallback:-${2:-}}"
}

[[ ${1:0:1} != - ]] || set -- mariadbd "$@"
if [[ $1 != mariadbd && $1 != mysqld ]] || wants_help "$@"; then exec "$@"; fi

data=$(server_option datadir "$@")
socket=$(server_option socket "$@")
if [[ $(id -u) == 0 ]]; then drop_root mysql "$data /run/mysqld" "$@"; fi

if [[ ! -d ${data%/}/mysql ]]; then
    either ROOT_HOST %
    for name in DATABASE USER PASSWORD ROOT_PASSWORD; do either "$name"; done
    {
        root_host=$MARIADB_ROOT_HOST database=$MARIADB_DATABASE user=$MARIADB_USER password=$MARIADB_PASSWORD
        user_host=${MARIADB_USER_HOST:-%} new_root_password=$MARIADB_ROOT_PASSWORD
        allow_empty=${MARIADB_ALLOW_EMPTY_ROOT_PASSWORD:-$MYSQL_ALLOW_EMPTY_PASSWORD}
        random_root=${MARIADB_RANDOM_ROOT_PASSWORD:-$MYSQL_RANDOM_ROOT_PASSWORD}
    }
    check_settings MARIADB
    set_up "$@"
fi
exec "$@"
