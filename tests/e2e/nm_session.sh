#!/bin/sh
# Runs NetworkManager with keyfiles and tells what came of it: as a guest's init, or in network
# and mount namespaces of its own. $1: directory with keyfiles; $2: interfaces to be made as
# veth pairs, NAME or NAME,MAC separated by spaces; $3: what the other ends' network has: dhcp, or nothing;
# $4: how many connections must come up; $5: addresses to look up in the routing tables, if any.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C

mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib/NetworkManager
mkdir -p /run/profiles /run/dbus /run/NetworkManager
cp "$1"/* /run/profiles/
chmod 600 /run/profiles/*
mount -t tmpfs tmpfs /etc/NetworkManager
mkdir -p /etc/NetworkManager/system-connections
cp -p /run/profiles/* /etc/NetworkManager/system-connections/

# NetworkManager waits for udev where /sys can be written to; here is none. What is below
# /sys/devices it must be able to write.
mount -t sysfs sysfs /sys
mount --bind /sys/devices /sys/devices
mount -o remount,bind,ro /sys

ip link set lo up
if [ -n "$2" ]; then
    unshare --net sleep 300 &
    peer=$!
    sleep 0.3
    first=${2%% *}
    first=${first%%,*}
    for link in $2; do
        name=${link%%,*}
        ip link add "$name" type veth peer name "peer-$name"
        case $link in *,*) ip link set "$name" address "${link#*,}" ;; esac
        ip link set "peer-$name" netns "$peer"
        nsenter --target "$peer" --net ip link set "peer-$name" up
    done
    if [ "$3" = dhcp ]; then
        nsenter --target "$peer" --net ip address add 192.0.2.1/24 dev "peer-$first"
        cat >/run/udhcpd.conf <<CONF
start 192.0.2.100
end 192.0.2.100
interface peer-$first
lease_file /run/udhcpd.leases
option subnet 255.255.255.0
option router 192.0.2.1
option dns 192.0.2.53
option domain example.net
CONF
        : >/run/udhcpd.leases
        nsenter --target "$peer" --net busybox udhcpd -f /run/udhcpd.conf >/run/udhcpd.log 2>&1 &
    fi
fi

cat >/run/nm.conf <<CONF
[main]
plugins=keyfile
no-auto-default=*
dhcp=internal
dns=default
rc-manager=unmanaged
auth-polkit=false
[keyfile]
unmanaged-devices=interface-name:peer-*
CONF
cat >/run/dbus.conf <<CONF
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/>
    <allow send_type="method_call"/><allow receive_type="method_call"/>
    <allow send_type="signal"/><allow receive_type="signal"/>
    <allow send_requested_reply="true"/><allow receive_requested_reply="true"/>
  </policy>
</busconfig>
CONF
dbus-daemon --config-file=/run/dbus.conf --fork --nopidfile
NetworkManager --debug --config=/run/nm.conf --config-dir=/run/none --log-level=INFO \
    >/run/nm.log 2>&1 &
manager=$!

up() { # NetworkManager has a connection of its own for lo
    nmcli --colors no -t -f NAME,STATE connection show --active 2>/dev/null | grep -v ^lo: | grep -c :activated$
}
tries=0
while [ "$(up)" -lt "$4" ]; do
    tries=$((tries + 1))
    [ $tries -lt 60 ] || break
    sleep 0.3
done
sleep 0.5

section() {
    echo "=== $1"
    shift
    "$@" 2>&1 || true
}
section active nmcli --colors no -t -f NAME,STATE connection show --active
section profiles nmcli --colors no -t -f NAME,FILENAME connection show
section links ip -json -details link show
section addresses ip -json address show
section routes4 ip -json route show table all
section routes6 ip -json -6 route show table all
section rules4 ip -json rule show
section rules6 ip -json -6 rule show
lookups() {
    for address in $1; do
        # A blackhole and the like are errors of the lookup too.
        if ip route get "$address" >/dev/null 2>&1; then echo "$address"; fi
    done
}
section reached lookups "${5:-}"
section vlans bridge -json vlan show
section resolver cat /run/NetworkManager/resolv.conf
section log cat /run/nm.log
echo "=== end"
kill $manager 2>/dev/null || true
