# shellcheck shell=bash
# Owns the way to Debian's archive: which mirror this machine uses, and how packages get installed.
# Sourced after env.sh.

# The address and keyring of the machine's own Debian mirror. apt reads its configuration itself, so both of its file
# formats and any third-party archives beside Debian's are its concern.
debian_mirror() {
    local codename mirror
    codename=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
    # shellcheck disable=SC2016 # these are apt's variables
    mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' |
        awk -v release="$codename" '$1 == release && $2 == "main" && !found { print $3; found = 1 }')
    [[ -n $mirror ]] || die "apt knows no archive with the suite $codename, component main"
    printf '%s' "$mirror"
}

# Installs what is missing of the given packages. The cluster runs its own daemons with its own configuration, so those
# that a package would start, now or at the next boot, are kept from it.
install_packages() {
    local package missing=()
    for package; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    say "installing the Debian packages ${missing[*]} (about a minute)"
    local units=()
    if [[ -d /run/systemd/system ]]; then
        for package in "${missing[@]}"; do
            case $package in etcd-server) units+=(etcd.service) ;; containerd) units+=(containerd.service) ;; esac
        done
    fi
    if ((${#units[@]})); then systemctl --quiet --runtime mask "${units[@]}"; fi
    # invoke-rc.d starts nothing in runlevel 1.
    local status=0 install=(env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive
        apt-get install --yes --quiet --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}")
    # The installation outlives an `up` that is killed, and must not keep its lock.
    { "${install[@]}" || { apt-get update --quiet && "${install[@]}"; }; } </dev/null >&2 9<&- || status=$?
    if ((${#units[@]})); then
        systemctl --quiet --runtime unmask "${units[@]}"
        systemctl --quiet disable "${units[@]}"
    fi
    ((status == 0)) || die "the packages could not be installed"
}

# Unpacks Debian's source package $1 of the suite $2 into the folder $3. The machine's own package lists stay as they are.
unpack_source() {
    local package=$1 suite=$2 target=$3
    local apt="$target/.apt" options
    mkdir -p "$apt/lists/partial"
    printf 'deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$(debian_mirror)" "$suite" >"$apt/sources.list"
    options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$apt/lists"
        -o APT::Sandbox::User=root)
    apt-get "${options[@]}" --quiet update >&2
    (cd "$target" && apt-get "${options[@]}" --quiet source "$package" >&2)
}
