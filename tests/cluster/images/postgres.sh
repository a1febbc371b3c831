#!/bin/bash
# Owns the start of the postgres image: the official image's variables and phases. The test-only variables are told of in
# setup.sh.
set -eo pipefail
shopt -s nullglob
# shellcheck source=setup.sh
source /usr/local/lib/testbed/setup.sh

docker_process_sql() {
    PGHOST='' PGHOSTADDR='' psql --no-psqlrc --no-password --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
        --set ON_ERROR_STOP=1 "$@"
}

# initdb looks its user up by number; a user without a name gets one from this library.
name_the_user() {
    if getent passwd "$(id -u)" >/dev/null; then return 0; fi
    local wrapper
    for wrapper in /usr/lib/*/libnss_wrapper.so; do
        NSS_WRAPPER_PASSWD=$(mktemp) NSS_WRAPPER_GROUP=$(mktemp)
        printf 'postgres:x:%s:%s:PostgreSQL:%s:/bin/false\n' "$(id -u)" "$(id -g)" "$PGDATA" >"$NSS_WRAPPER_PASSWD"
        printf 'postgres:x:%s:\n' "$(id -g)" >"$NSS_WRAPPER_GROUP"
        export NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP LD_PRELOAD=$wrapper
    done
}

# `initdb` trusts the socket and loopback, as in the official image; everyone else proves who they are.
initialize() {
    name_the_user
    local method=$POSTGRES_HOST_AUTH_METHOD
    # POSTGRES_INITDB_ARGS is a line of shell words, and read as such.
    eval "initdb --username=\"\$POSTGRES_USER\" --pwfile=<(printf '%s\n' \"\$POSTGRES_PASSWORD\") --pgdata=\"\$PGDATA\" $POSTGRES_INITDB_ARGS"
    printf '\nhost all all all %s\n' "${method:-scram-sha-256}" >>"$PGDATA/pg_hba.conf"
    unset LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
}

start_setup_server() {
    local addresses
    case ${TESTBED_SETUP_SERVER:-hidden} in
        hidden) addresses='' ;;
        loopback) addresses=127.0.0.1 ;;
        visible) addresses='*' ;;
        *) fail "TESTBED_SETUP_SERVER may be hidden, visible or loopback" ;;
    esac
    # The final server's arguments come before these, so that these win.
    local options=("${@:2}" -c "listen_addresses=$addresses" -p "${PGPORT:-5432}")
    [[ ${TESTBED_SETUP_OPTIONS:-own} == own ]] || options=("${@:2}")
    PGUSER=${PGUSER:-$POSTGRES_USER} pg_ctl --pgdata="$PGDATA" --wait --options="$(printf '%q ' "${options[@]}")" start
}

stop_setup_server() {
    PGUSER=${PGUSER:-postgres} pg_ctl --pgdata="$PGDATA" --mode=fast --wait stop
}

create_database() {
    [[ $POSTGRES_DB != postgres ]] || return 0
    docker_process_sql --dbname postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
}

check_settings() {
    if [[ -z $POSTGRES_PASSWORD && $POSTGRES_HOST_AUTH_METHOD != trust ]]; then
        fail "Database is uninitialized and superuser password is not specified
    You need to set POSTGRES_PASSWORD to something, or POSTGRES_HOST_AUTH_METHOD to trust, which lets everyone in"
    fi
}

[[ ${1:0:1} != - ]] || set -- postgres "$@"
if [[ $1 != postgres ]] || wants_help "$@"; then exec "$@"; fi

if [[ $(id -u) == 0 ]]; then drop_root postgres "$PGDATA /var/run/postgresql" "$@"; fi
mkdir -p "$PGDATA"
chmod 0700 "$PGDATA" 2>/dev/null || true

if [[ ! -s $PGDATA/PG_VERSION ]]; then
    setting POSTGRES_PASSWORD
    setting POSTGRES_USER postgres
    setting POSTGRES_DB "$POSTGRES_USER"
    setting POSTGRES_INITDB_ARGS
    check_settings
    initialize
    export PGPASSWORD=$POSTGRES_PASSWORD
    start_setup_server "$@"
    create_database
    run_init_folder
    linger_and_restart "$@"
    stop_setup_server
    unset PGPASSWORD
    printf '\nPostgreSQL init process complete; ready for start up.\n\n'
else
    printf '\nPostgreSQL Database directory appears to contain a database; Skipping initialization\n\n'
fi
exec "$@"
