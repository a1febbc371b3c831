# shellcheck shell=bash disable=SC2154
# Owns how the daemons are compiled: with which Go, in which surroundings. Sourced after env.sh and debian.sh, in a build's own $work folder.

# Puts a Go into PATH that is as new as the modules ask for: the machine's own, else Debian's, unpacked in the work folder and gone with it. It is in
# newer releases of Debian than the one that runs here, which is not to become a mix of both.
use_go() {
    local needed goroot
    needed=$(find "$CLUSTER_SOURCE/modules" -name go.mod -exec sed -n 's/^go //p' {} + | sort -V | tail -n 1)
    export GOTOOLCHAIN=local
    go_is "$needed" && return
    say "fetching Debian's Go: $needed or later is needed (half a minute)"
    unpack_packages sid "$work/go" "golang-1.26-go golang-1.26-src" "golang-1.27-go golang-1.27-src" "golang-1.28-go golang-1.28-src"
    goroot=$(echo "$work"/go/usr/lib/go-*)
    export GOROOT=$goroot PATH=$goroot/bin:$PATH
    go_is "$needed" || die "Debian has only $(go env GOVERSION); install Go $needed or later, and put it into PATH"
}

# Whether there is a Go, at least of the given version.
go_is() {
    local version
    version=$(go env GOVERSION 2>/dev/null) && printf '%s\n' "$1" "${version#go}" | sort -VC
}

# Makes everything that Go reads or writes be in the work folder. Where it gets modules from is the machine's own setting.
prepare_go() {
    use_go
    mkdir -p "$work/go-tmp"
    export GOCACHE=$work/go-cache GOMODCACHE=$work/go-modules GOTMPDIR=$work/go-tmp GOFLAGS=-modcacherw GOWORK=off CGO_ENABLED=0
}

# Compiles with the module $1 into the file or folder $2; what follows are options, and in the end a package, or `tool` for all that go.mod names.
compile() {
    local module=$1 output=$2 started=$SECONDS
    shift 2
    (cd "$CLUSTER_SOURCE/modules/$module" && nice go build -trimpath -buildvcs=false -o "$output" "$@") </dev/null >"$work/build.log" 2>&1 ||
        { tail -n 40 "$work/build.log" >&2; die "$module did not compile: ${*: -1}"; }
    say "compiled $module: ${*: -1} ($((SECONDS - started)) s)"
}

# The version of the Go module $2 that the module in the folder $1 requires.
module_version() {
    awk -v module="$2" '$1 == "require" && $2 == module { print $3 } $1 == module && $2 ~ /^v/ { print $2 }' "$CLUSTER_SOURCE/modules/$1/go.mod"
}
