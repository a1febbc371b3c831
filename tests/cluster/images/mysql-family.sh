# shellcheck shell=bash disable=SC2154 # variables of the entrypoints
# Owns the set-up that MySQL and MariaDB have in common, in SQL and in running the set-up server. Sourced by their
# entrypoints, which define $client, $admin and $product, after setup.sh.

# A value as a string literal. Backslashes and quotes are doubled.
sql_quote() {
    local value=${1//\\/\\\\}
    printf "'%s'" "${value//\'/\'\'}"
}

# shellcheck disable=SC2119,SC2120 # only some callers have arguments for the client
# SQL from stdin, as root through the socket, in the database of the set-up if there is one.
docker_process_sql() {
    local arguments=("$@")
    [[ -z $setup_database ]] || arguments+=(--database="$setup_database")
    "$client" --defaults-extra-file=<(client_password) --protocol=socket --socket="$socket" --user=root --host=localhost \
        --comments "${arguments[@]}"
}

# root has no password until the set-up has given it one.
client_password() {
    local password=${root_password//\\/\\\\}
    [[ -z $password ]] || printf '[client]\npassword="%s"\n' "${password//\"/\\\"}"
}

# The value of the server's option $1 with the configuration files and arguments that it is going to have.
server_option() {
    local option=$1
    shift
    "$@" --verbose --help 2>/dev/null | awk -v option="$option" '$1 == option && /^[^ ]/ { sub(/^[^ \t]+[ \t]+/, ""); print; exit }'
}

start_setup_server() {
    local network
    case ${TESTBED_SETUP_SERVER:-hidden} in
        hidden) network=--skip-networking ;;
        loopback) network=--bind-address=127.0.0.1 ;;
        visible) network=--bind-address=0.0.0.0 ;;
        *) fail "TESTBED_SETUP_SERVER may be hidden, visible or loopback" ;;
    esac
    note "Starting temporary server"
    local options=("$network" --default-time-zone=SYSTEM --socket="$socket" "${setup_options[@]}")
    [[ ${TESTBED_SETUP_OPTIONS:-own} == own ]] || options=()
    "$@" "${options[@]}" &
    setup_pid=$!
    until "$admin" --defaults-extra-file=<(client_password) --protocol=socket --socket="$socket" --user=root ping >/dev/null 2>&1; do
        kill -0 "$setup_pid" 2>/dev/null || fail "the temporary server ended before it was ready"
        sleep 0.1
    done
    note "Temporary server started."
}

stop_setup_server() {
    note "Stopping temporary server"
    kill "$setup_pid"
    wait "$setup_pid" || fail "the temporary server ended with status $?"
    note "Temporary server stopped"
}

# The users and the database, from the variables that the entrypoint has put under the names used here.
create_users() {
    local host
    {
        echo "SET @@SESSION.SQL_LOG_BIN=0;"
        # MariaDB makes these, without a password.
        for host in 127.0.0.1 ::1 "$HOSTNAME"; do echo "DROP USER IF EXISTS 'root'@$(sql_quote "$host");"; done
        echo "ALTER USER 'root'@'localhost' IDENTIFIED BY $(sql_quote "$new_root_password");"
        if [[ -n $root_host && $root_host != localhost ]]; then
            host=$(sql_quote "$root_host")
            echo "CREATE USER 'root'@$host IDENTIFIED BY $(sql_quote "$new_root_password");"
            echo "GRANT ALL ON *.* TO 'root'@$host WITH GRANT OPTION;"
        fi
        echo "FLUSH PRIVILEGES;"
        echo "DROP DATABASE IF EXISTS test;"
    } | docker_process_sql
    root_password=$new_root_password

    if [[ -n $database ]]; then
        note "Creating database $database"
        echo "CREATE DATABASE IF NOT EXISTS \`$database\`;" | docker_process_sql
        setup_database=$database
    fi
    if [[ -n $user && -n $password ]]; then
        note "Creating user $user"
        host=$(sql_quote "$user_host")
        {
            echo "CREATE USER $(sql_quote "$user")@$host IDENTIFIED BY $(sql_quote "$password");"
            [[ -z $database ]] || echo "GRANT ALL ON \`${database//_/\\_}\`.* TO $(sql_quote "$user")@$host;"
        } | docker_process_sql
    fi
}

check_settings() {
    local prefix=$1
    if [[ -z $new_root_password && -z $allow_empty && -z $random_root ]]; then
        fail "Database is uninitialized and password option is not specified
    You need to specify one of ${prefix}_ROOT_PASSWORD, ${prefix}_ALLOW_EMPTY_PASSWORD and ${prefix}_RANDOM_ROOT_PASSWORD"
    fi
    [[ $user != root ]] || fail "${prefix}_USER may not be root, who exists anyway; use ${prefix}_ROOT_PASSWORD for its password"
    if [[ -n $user && -z $password ]]; then warn "${prefix}_USER has no ${prefix}_PASSWORD: the user is not created"; fi
    if [[ -z $user && -n $password ]]; then warn "${prefix}_PASSWORD has no ${prefix}_USER: it is not used"; fi
    if [[ -n $random_root ]]; then
        new_root_password=$(head -c 24 /dev/urandom | base64 | tr -d '/+=')
        note "GENERATED ROOT PASSWORD: $new_root_password"
    fi
}

# From an empty data folder to a stopped set-up server. Arguments: the final server's command line.
set_up() {
    setup_database='' root_password=''
    note "Initializing database files"
    initialize "$@"
    note "Database files initialized"
    start_setup_server "$@"
    load_time_zones
    create_users
    run_init_folder
    linger_and_restart "$@"
    stop_setup_server
    note "$product init process done. Ready for start up."
}
