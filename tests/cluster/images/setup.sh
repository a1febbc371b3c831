# shellcheck shell=bash
# Owns what all entrypoints do alike: reading variables, dropping root, the init folder, and the test-only variables.
# Sourced by the entrypoints, inside the images.
#
# Test-only variables, which no official image knows:
#   TESTBED_SETUP_SERVER    what the set-up server shows: hidden (no TCP, as in the official images; the default), visible
#                           (its port on all addresses) or loopback (its port on 127.0.0.1)
#   TESTBED_SETUP_OPTIONS   what a visible set-up server is started with: own (options that the final server does not have, as in the official
#                           images; the default) or none (the final server's command line and no more)
#   TESTBED_SETUP_LINGER    seconds that the set-up server stays on after its work; fractions allowed; default 0
#   TESTBED_SETUP_RESTARTS  how many more times the set-up server is stopped and started before its end; default 0

note() { printf '%s [Note] [Entrypoint]: %s\n' "$(date --rfc-3339=seconds)" "$*"; }
warn() { printf '%s [Warn] [Entrypoint]: %s\n' "$(date --rfc-3339=seconds)" "$*" >&2; }
fail() {
    printf '%s [ERROR] [Entrypoint]: %s\n' "$(date --rfc-3339=seconds)" "$*" >&2
    exit 1
}

# Gives the variable $1 its value: from itself, from the file that $1_FILE names, or the default $2.
setting() {
    local name=$1 file=$1_FILE value=${2:-}
    [[ -z ${!name:-} || -z ${!file:-} ]] || fail "$name and $file are both set; only one of them may be"
    if [[ -n ${!name:-} ]]; then
        value=${!name}
    elif [[ -n ${!file:-} ]]; then
        value=$(<"${!file}")
    fi
    export "$name=$value"
    unset "$file"
}

# True if one of the arguments asks the server to print something and leave.
wants_help() {
    local argument
    for argument; do
        case $argument in --help | -\? | --version | -V | --print-defaults | --describe-config) return 0 ;; esac
    done
    return 1
}

# Starts the entrypoint over as the engine's user, who gets the given folders.
drop_root() {
    local user=$1 folders=$2
    shift 2
    local folder
    for folder in $folders; do
        mkdir -p "$folder"
        find "$folder" \! -user "$user" -exec chown --no-dereference "$user" {} +
    done
    exec setpriv --reuid="$user" --regid="$user" --init-groups -- "$0" "$@"
}

# Goes through /docker-entrypoint-initdb.d in the order of names. The engine's docker_process_sql takes SQL on its stdin;
# sourced scripts use it too.
run_init_folder() {
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
            *.sh)
                if [[ -x $file ]]; then
                    note "$0: running $file"
                    "$file"
                else
                    note "$0: sourcing $file"
                    # shellcheck disable=SC1090
                    source "$file"
                fi
                ;;
            *.sql)
                note "$0: running $file"
                docker_process_sql <"$file"
                ;;
            *.sql.gz)
                note "$0: running $file"
                gunzip --stdout "$file" | docker_process_sql
                ;;
            */\*) ;;
            *) warn "$0: ignoring $file" ;;
        esac
    done
}

# Stays after the work, and starts over, as told to. The engine has start_setup_server and stop_setup_server.
linger_and_restart() {
    local restarts=${TESTBED_SETUP_RESTARTS:-0}
    sleep "${TESTBED_SETUP_LINGER:-0}"
    while ((restarts-- > 0)); do
        note "Restarting the set-up server"
        stop_setup_server
        start_setup_server "$@"
        sleep "${TESTBED_SETUP_LINGER:-0}"
    done
}
