# Sourced by install-test.sh, after apt.sh.

# Prints "URI CODENAME" of the archive that this machine's Debian sources already use.
debian_archive() {
  # The names in $() are apt's, not the shell's.
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(RELEASE) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    awk '$1 == "Debian" && $2 == $3 && $3 !~ /-/ { print $4, $2; exit }'
}

# install_newer_packages NAME...: from the release's backports where the release is Debian 12, whose own emulator is
# too old beside newer image tools; from the release itself elsewhere.
install_newer_packages() {
  is_debian "$@" || return 0
  [ -n "$(missing_packages "$@")" ] || return 0
  archive=$(debian_archive)
  codename=${archive#* }
  if [ "$codename" != bookworm ]; then
    install_packages "$@"
    return 0
  fi
  suite="$codename-backports"
  if ! apt-get indextargets --format '$(RELEASE)' 'Created-By: Packages' | grep -qx "$suite"; then
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' \
      "${archive% *}" "$suite" /usr/share/keyrings/debian-archive-keyring.gpg |
      as_root tee /etc/apt/sources.list.d/whittle-backports.sources >/dev/null
    as_root apt-get update -q
  fi
  install_packages -t "$suite" "$@"
}
