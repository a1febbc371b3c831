# shellcheck shell=bash
# Owns the question whether the API server answers, asked with the administrator's certificate and no kubectl: there may be
# none yet, or the cluster may be of another build. Sourced after env.sh.

api_is_ready() {
    curl --fail --silent --max-time 2 --cacert "$STATE/pki/ca.crt" --cert "$STATE/pki/admin.crt" --key "$STATE/pki/admin.key" \
        "https://$NODE_ADDRESS:$API_PORT/readyz" >/dev/null 2>&1
}
