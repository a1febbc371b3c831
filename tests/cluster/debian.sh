# shellcheck shell=bash disable=SC2154
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

# Installs what is missing of the given packages, none of which starts anything.
install_packages() {
    local package missing=()
    for package; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    say "installing the Debian packages ${missing[*]} (about a minute)"
    local install=(env DEBIAN_FRONTEND=noninteractive
        apt-get install --yes --quiet --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}")
    # The installation outlives an `up` that is killed, and must not keep its lock.
    { "${install[@]}" || { apt-get update --quiet && "${install[@]}"; }; } </dev/null >&2 9<&- || die "the packages could not be installed"
}

# For a build, which has a $work folder: unpacks packages of the suite $1 into the folder $2, without installing them. Each further argument is a
# set of names, and the first set that the suite has is taken. The machine's own package lists stay as they are.
unpack_packages() {
    local suite=$1 target=$2 set package packages apt=$work/apt options
    shift 2
    mkdir -p "$apt/lists/partial" "$target"
    printf 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' "$(debian_mirror)" "$suite" >"$apt/sources.list"
    options=(--quiet -o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$apt/lists"
        -o "Dir::Cache=$apt" -o APT::Sandbox::User=root)
    apt-get "${options[@]}" update >&2
    for set; do
        read -ra packages <<<"$set"
        apt-cache "${options[@]}" show "${packages[@]}" >/dev/null 2>&1 || continue
        (cd "$apt" && apt-get "${options[@]}" download "${packages[@]}" >&2)
        for package in "${packages[@]}"; do dpkg-deb --extract "$apt/$package"_*.deb "$target"; done
        rm -rf "$apt"
        return
    done
    die "Debian's $suite has none of: $*"
}
