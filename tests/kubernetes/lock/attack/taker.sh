# A lock without a process that keeps it: taken, used, given back.
# usage: bash taker.sh TESTBED FENCE-FILE TTL ACQUIRE-FLAGS... -- HOLDER...
testbed=$1 fence_file=$2 ttl=$3
shift 3
flags=()
while [[ $1 != -- ]]; do flags+=("$1") && shift; done
shift
# A test that is killed leaves nobody who waits.
setpriv --pdeathsig KILL "$testbed" lock acquire "${flags[@]}" --ttl "$ttl" --result fence="$fence_file" || exit
TESTBED_LOCK_FENCE=$(<"$fence_file") setpriv --pdeathsig KILL "$@"
"$testbed" lock release "${flags[0]}" --strict
