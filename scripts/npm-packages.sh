#!/bin/sh
# Installs exactly what the lock file of a folder names, unless that is there already: npm-packages.sh FOLDER
set -eu

cd -- "$1"
installed=node_modules/.faultline-lock
cmp -s package-lock.json "$installed" && exit 0
npm ci --no-progress --loglevel=error >&2
cp package-lock.json "$installed"
