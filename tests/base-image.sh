#!/usr/bin/env bash
# Makes a base image for our binaries from this machine's own Debian or Ubuntu packages, where no public base can be
# pulled: the C library, libgcc and the certificates of public authorities; no shell, no package manager.
#   base-image.sh    prints the image's name: localhost/spinredis-base:TAG
# Environment: that of image-tool.sh.
set -euo pipefail
# shellcheck source=tests/image-tool.sh
source "$(dirname "${BASH_SOURCE[0]}")/image-tool.sh"
packages=(libc6 libgcc-s1 ca-certificates)

find_image_tool
image=$(image_name spinredis-base)
command -v apt-get >/dev/null || fail "a base image can be made here on Debian and Ubuntu only; set BASE to an image that has glibc"
inputs=$( (dpkg-query -W "${packages[@]}" 2>/dev/null || true; cat "$0") | sha256sum | cut -d' ' -f1)
if up_to_date "$image" "$inputs"; then
  echo "$image"
  exit
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # apt downloads as a user of its own
mkdir "$work/debs" "$work/rootfs"
! id _apt >/dev/null 2>&1 || [ "$EUID" != 0 ] || chown _apt "$work/debs"
(cd "$work/debs" && apt-get -qq download "${packages[@]}") ||
  fail "apt-get could not download ${packages[*]}; run apt-get update, or set BASE to an image that has glibc"

cd "$work/rootfs"
# Packages of today's Debian and Ubuntu count on these links to be there.
mkdir -p usr/bin usr/sbin usr/lib usr/lib64 etc/ssl/certs tmp home/nonroot
ln -s usr/lib lib
ln -s usr/lib64 lib64
for deb in "$work"/debs/*.deb; do dpkg-deb --fsys-tarfile "$deb" | tar -x --keep-directory-symlink; done
cat usr/share/ca-certificates/mozilla/*.crt >etc/ssl/certs/ca-certificates.crt
find usr/share/doc ! -type d ! -path 'usr/share/doc/*/copyright' -delete
for package in "${packages[@]}"; do # one that only links to another package's copyright file
  [ ! -e "/usr/share/doc/$package/copyright" ] || install -Dm644 -t "usr/share/doc/$package" "/usr/share/doc/$package/copyright"
done
rm -rf usr/share/doc/*/examples usr/bin usr/sbin sbin var usr/lib/*/gconv usr/lib/locale usr/share/ca-certificates usr/share/locale \
  usr/share/man usr/share/lintian usr/share/bug etc/ca-certificates etc/init.d etc/default \
  usr/lib/*/lib{mvec,memusage,pcprofile,c_malloc_debug,thread_db,BrokenLocale,nsl,nss_hesiod,nss_compat}.so*
# The directory where programs are looked for, and the users that images commonly name.
mkdir -p usr/bin
printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >etc/passwd
printf 'root:x:0:\nnonroot:x:65532:\n' >etc/group
echo 'hosts: files dns' >etc/nsswitch.conf
chmod 1777 tmp
find . -depth -type d -empty ! -path ./tmp ! -path ./home/nonroot ! -path ./usr/bin -delete
tar -C "$work/rootfs" --sort=name --owner=0 --group=0 --mtime=@0 -cf "$work/rootfs.tar" .
rm -rf "$work/debs" "$work/rootfs"

printf 'FROM scratch\nADD rootfs.tar /\n' >"$work/Containerfile"
build_image "$image" "$inputs" "$work/Containerfile" "$work"
say_size "$image" built
echo "$image"
