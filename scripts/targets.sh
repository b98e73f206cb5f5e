# Sourced: Rust's targets other than this machine.

# Whether the compiler that cargo uses has the target's standard library.
has_target() {
  [ -d "$(rustc --print sysroot)/lib/rustlib/$1" ]
}

# has_sources: whether Debian's rustc-web and rust-web-src are here, which build it from source.
has_sources() {
  ls -d /usr/src/rustc-*/library >/dev/null 2>&1
}

# add_target TARGET: by rustup where there is one and it can, which takes seconds. Fails where it cannot.
add_target() {
  has_target "$1" && return 0
  command -v rustup >/dev/null 2>&1 || return 1
  rustup target add "$1" >&2 || return 1
  has_target "$1"
}

# Where the C library for static aarch64 programs is unpacked, for a std that is built from source.
musl_folder() {
  echo "${XDG_CACHE_HOME:-$HOME/.cache}/whittle/musl/usr/lib/aarch64-linux-musl"
}
