# shellcheck shell=sh
# The first ten minutes of somebody who has just installed the packages: each command and all that it
# says on a terminal, with what differs each time replaced. first_minutes.expected is what it should
# be: read it as a newcomer would before you change it.

mask() {
    sed -E -e 's/\r$//' -e 's/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/ID/g' \
        -e 's/("duration\\": )[0-9.]+/\1N/' -e 's/(_per_10_min": )[0-9.e-]+/\1N/' \
        -e 's/ in [0-9.]+ (s|seconds)/ in N s/' -e 's,sha256//[A-Za-z0-9+/]+=*,sha256//PIN,'
}

# Types a command on a terminal of the machine.
type_as() { # user, command
    if [ "$1" = root ]; then sign='#'; else sign='$'; fi
    printf '\n%s %s\n' "$1$sign" "$2" | mask
    run script -qec "su -l $1 -c \"$2\"" /dev/null >"$work/typed" 2>&1
    mask <"$work/typed"
}

# Types it on another machine of the local network, which has autodl but no service.
type_elsewhere() { # user, command
    printf '\n%s %s\n' "$1@laptop\$" "$2" | mask
    ip netns exec "$lan" chroot "$root" su -l "$1" -c "$2" </dev/null 2>&1 | mask
}

# As OPENING TO THE NETWORK in autodl-service(8) says.
open_to_the_network() {
    type_as root "autodl-service --make-cert /etc/autodl"
    pin=$(grep -Eo 'sha256//[A-Za-z0-9+/]+=*' "$work/typed")
    { tr -d '\r' <"$work/typed" | grep '^tls-'; printf 'listen = %s:6736\n' 127.0.0.1 10.77.0.1; } \
        >>"$root/etc/autodl/autodl.conf"
    type_as root "systemctl restart autodl-service"
    run sh -c 'echo alice:correct-horse | chpasswd'
    type_elsewhere alice "autodl -h https://10.77.0.1 stats"
    type_elsewhere alice "AUTODL_PASSWORD=correct-horse autodl -h https://10.77.0.1 stats"
    type_elsewhere alice "AUTODL_PASSWORD=wrong autodl -h https://10.77.0.1 --pin '$pin' stats"
    type_elsewhere alice "AUTODL_PASSWORD=correct-horse autodl -h https://10.77.0.1 --pin '$pin' add '$url/three'"
    type_elsewhere alice "AUTODL_PASSWORD=correct-horse autodl -h http://10.77.0.1 stats"
    type_elsewhere bob "AUTODL_PASSWORD=correct-horse autodl -h https://10.77.0.1 --pin '$pin' -u alice stats"
    type_elsewhere bob "AUTODL_PASSWORD=correct-horse autodl -h https://10.77.0.1 --pin '$pin' -u root stats"
}

first_minutes() {
    url=http://127.0.0.1:8080/fast
    type_as root "systemctl is-active autodl-service"
    type_as root "autodl stats"
    type_as root "autodl add '$url/one'"
    type_as root "autodl -u alice add '$url/one'"
    type_as alice "autodl add '$url/two'"
    id=$(grep -Eo '[0-9a-f]{8}-[0-9a-f-]{27}' "$work/typed")
    finished alice "$id" 20 >/dev/null
    type_as alice "autodl status $id"
    type_as alice "autodl add 127.0.0.1:8080/fast/two"
    type_as alice "autodl add 'magnet:?xt=urn:btih:0'"
    type_as alice "autodl add '$url/two' /srv"
    type_as alice "autodl add '$url/two' /srv/alice"
    type_as alice "autodl add '$url/two' /root/x"
    type_as alice "autodl status 00000000"
    type_as alice "autodl statu"
    type_as alice "autodl update_tasks_num 4"
    type_as root "usermod -aG autodl alice"
    run systemctl restart autodl-service # memberships are looked up once a minute
    type_as alice "autodl update_tasks_num 4"
    type_as alice "autodl pause 1m"
    type_as alice "autodl resume"
    type_elsewhere alice "autodl stats"
    type_elsewhere alice "autodl -h 10.77.0.1 stats"
    open_to_the_network
    run systemctl stop autodl-service
    type_as alice "autodl stats"
    run systemctl start autodl-service
}
