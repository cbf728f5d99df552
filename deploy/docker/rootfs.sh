#!/bin/sh
# Lays out the whole file system of the image in a folder: the program, the libraries it is linked with, the certificate
# authorities, one user, and the folders that this user may write. No shell, no package manager, nothing to update but us.
#
#   rootfs.sh BINARY FOLDER
set -eu
binary=$1
root=$2
uid=10001

mkdir -p "$root/usr/local/bin" "$root/etc/ssl/certs" "$root/tmp"
cp "$binary" "$root/usr/local/bin/rollcall"
strip "$root/usr/local/bin/rollcall"
chmod 0755 "$root/usr/local/bin/rollcall"

# glibc 2.34 and newer resolves names by itself (getent aside), so what `ldd` names is all there is to copy.
ldd "$binary" | tr ' \t' '\n\n' | grep '^/' | while read -r library; do
  mkdir -p "$root$(dirname "$library")"
  cp -L "$library" "$root$library"
done

if [ -r /etc/ssl/certs/ca-certificates.crt ]; then
  cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
else
  echo "rootfs.sh: no /etc/ssl/certs/ca-certificates.crt here: https checks need probe.tls-ca-file" >&2
fi
echo "rollcall:x:$uid:$uid::/var/lib/rollcall:/nonexistent" > "$root/etc/passwd"
echo "rollcall:x:$uid:" > "$root/etc/group"
echo "hosts: files dns" > "$root/etc/nsswitch.conf"
