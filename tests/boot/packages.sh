#!/bin/sh
# Builds the Debian packages of the last commit in OUT: OUT/*.deb, and OUT/next/*.deb, the same with a
# higher version. What is there for that commit already is kept.
#
# usage: packages.sh OUT      (AUTODL_SOURCE: the git clone)
set -eu
out=$1
source=${AUTODL_SOURCE:-.}
commit=$(git -C "$source" rev-parse HEAD)
[ -z "$(git -C "$source" status --porcelain)" ] ||
    echo "# only what was committed is in the packages: not all is"

if [ "$(cat "$out/commit" 2>/dev/null)" = "$commit" ]; then
    exit 0
fi
rm -rf "$out"
mkdir -p "$out/next"
exec 3>&1 >"$out/log" 2>&1
trap '[ $? -eq 0 ] || { tail -n 40 "$out/log"; echo "the packages cannot be built; all of it: $out/log"; } >&3' EXIT

git clone -q "$source" "$out/autodl"
cd "$out/autodl"
./bootstrap dist
DEB_BUILD_OPTIONS="nocheck parallel=$(nproc)" dpkg-buildpackage -us -uc

# A higher version, with what was compiled already.
version=$(dpkg-parsechangelog -S Version)
{
    printf 'autodl (%s+next) unstable; urgency=medium\n\n  * The next one.\n\n' "$version"
    printf ' -- autodl maintainers <maintainers@autodl.example.org>  %s\n\n' "$(date -R)"
    cat debian/changelog
} >debian/changelog.next
mv debian/changelog.next debian/changelog
rm debian/debhelper-build-stamp
DEB_BUILD_OPTIONS="nocheck parallel=$(nproc)" dpkg-buildpackage -us -uc -b -nc
mv ../*+next*.deb ../next/
rm -f ../*+next*
echo "$commit" >../commit
