# Sourced by the install scripts: `install_packages NAME...` installs what is missing, and is silent when nothing is.

# One sentence instead of an error: the packages are a convenience on other systems, not a condition.
is_debian() {
  if command -v apt-get >/dev/null 2>&1 && command -v dpkg-query >/dev/null 2>&1; then
    return 0
  fi
  echo "This is not Debian or Ubuntu: please install what matches these packages: $*" >&2
  return 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo "$@"
  else
    echo "Neither root nor sudo: please run as root: $*" >&2
    return 1
  fi
}

is_installed() {
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Prints those of the given packages that are not installed.
missing_packages() {
  for package in "$@"; do
    is_installed "$package" || printf '%s ' "$package"
  done
}

# Whether the package lists of this machine know an installable version.
is_offered() {
  apt-cache policy "$1" 2>/dev/null | grep -q '^  Candidate: [^(]'
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
}

# install_packages [-t SUITE] NAME...
install_packages() {
  suite=
  if [ "$1" = -t ]; then
    suite=$2
    shift 2
  fi
  is_debian "$@" || return 0
  missing=$(missing_packages "$@")
  [ -n "$missing" ] || return 0

  # The lists are refreshed when they lack a package, or when an old list leads to a file that is gone.
  for package in $missing; do
    is_offered "$package" || { as_root apt-get update -q; break; }
  done
  offered=
  for package in $missing; do
    if is_offered "$package"; then
      offered="$offered $package"
    else
      echo "This machine's package sources do not offer $package: what needs it will say so." >&2
    fi
  done
  [ -n "$offered" ] || return 0
  # The lists are split on purpose: package names hold no spaces.
  # shellcheck disable=SC2086
  apt_install ${suite:+-t "$suite"} $offered || {
    as_root apt-get update -q
    apt_install ${suite:+-t "$suite"} $offered
  }
}

# install_at_least VERSION NAME...: installs what is missing or older, from lists of today: those that a machine comes
# with may not know the updates.
install_at_least() {
  least=$1
  shift
  is_debian "$@" || return 0
  old=
  for package in "$@"; do
    version=$(dpkg-query -W -f='${Version}' "$package" 2>/dev/null) || version=
    if ! is_installed "$package" || dpkg --compare-versions "$version" lt "$least"; then
      old="$old $package"
    fi
  done
  [ -n "$old" ] || return 0
  as_root apt-get update -q
  # shellcheck disable=SC2086
  apt_install $old
}

# unpack_foreign ARCHITECTURE NAME FOLDER: the files of a package for another processor, in a folder. Nothing is
# installed, and the machine's own lists stay as they are: apt reads its sources into a folder that is thrown away.
unpack_foreign() (
  is_debian "$2:$1" || exit 0
  state=$(mktemp -d)
  trap 'rm -rf "$state"' EXIT
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$3"
  # apt fetches as an account of its own.
  chmod 755 "$state"
  folder=$(cd "$3" && pwd)
  cd "$state"
  apt_there() {
    apt-get -q -o APT::Architecture="$architecture" -o APT::Architectures="$architecture" -o Dir::State::lists="$state/lists" \
      -o Dir::Cache="$state/cache" -o Dir::State::status=/dev/null -o APT::Sandbox::User="$(id -un)" "$@"
  }
  architecture=$1
  apt_there update
  apt_there download "$2"
  dpkg -x "$2"_*.deb "$folder"
)
