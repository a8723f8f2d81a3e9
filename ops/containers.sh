# Sourced by the checks that need containers: podman with its own storage and settings below $work, and a base image
# ($BASE_IMAGE), which is built here if none is given. Expects $name.
#
# It needs root and runc (which supports every cgroup layout), uses this process's limits, and works without systemd. It
# installs no packages: a missing one is reported and ends the check.

work=$PWD/build/containers
say() { printf "$name: %s\n" "$*" >&2; }
die() {
    printf 'error: %s\n' "$1" >&2
    [ $# = 1 ] || printf 'hint: %s\n' "$2" >&2
    exit 1
}
has() { command -v "$1" >/dev/null; }

missing=()
for need in podman:podman runc:runc debootstrap:debootstrap iptables:iptables "$@"; do
    has "${need%%:*}" || missing+=("${need#*:}")
done
[ -x /usr/lib/podman/netavark ] || [ -x /usr/libexec/podman/netavark ] || missing+=(netavark)
[ -x /usr/lib/podman/aardvark-dns ] || [ -x /usr/libexec/podman/aardvark-dns ] || missing+=(aardvark-dns)
[ ${#missing[@]} = 0 ] || die "not here: ${missing[*]}" "apt-get install --no-install-recommends ${missing[*]}"
[ "$(id -u)" = 0 ] || die 'this needs root: debootstrap and a bridge between the containers' 'Run it with sudo.'

mkdir -p "$work"
exec 8>"$work/lock"
podman() { command podman "$@" 8>&-; } # processes that keep running must not hold the lock
flock -n 8 || die 'another check runs in this checkout' 'Wait for it: they share images and storage.'
# Containers get this process's limits: podman's default can exceed those of a restricted root.
files=$(ulimit -Hn) processes=$(ulimit -Hu)
[ "$files" != unlimited ] && [ "$files" -le 65536 ] || files=65536
[ "$processes" != unlimited ] && [ "$processes" -le 32768 ] || processes=32768
cat >"$work/containers.conf" <<END
[containers]
default_ulimits = ["nofile=$files:$files", "nproc=$processes:$processes"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
[network]
network_backend = "netavark"
network_config_dir = "$work/networks"
END
cat >"$work/storage.conf" <<END
[storage]
driver = "${STORAGE_DRIVER:-overlay}"
graphroot = "$work/storage"
runroot = "$work/run"
END
export CONTAINERS_CONF=$work/containers.conf CONTAINERS_STORAGE_CONF=$work/storage.conf
unset STORAGE_DRIVER

if [ -z "${BASE_IMAGE:-}" ]; then
    BASE_IMAGE=localhost/sigmill-base:bookworm
    if ! podman image exists "$BASE_IMAGE"; then
        say 'making a base image with debootstrap'
        rm -rf "$work/base"
        debootstrap --variant=minbase --include=ca-certificates bookworm "$work/base" \
            ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >"$work/debootstrap.log" 2>&1 ||
            die "debootstrap failed: $(tail -n 1 "$work/debootstrap.log")" "See $work/debootstrap.log."
        # The image trusts the same certificate authorities as this host, which may include the network's own.
        cp -rL /usr/local/share/ca-certificates/. "$work/base/usr/local/share/ca-certificates/"
        chroot "$work/base" update-ca-certificates >/dev/null 2>&1
        tar -C "$work/base" -c . | podman import --quiet - "$BASE_IMAGE" >/dev/null
        rm -rf "$work/base"
    fi
fi
export BASE_IMAGE
