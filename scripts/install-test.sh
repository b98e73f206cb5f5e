#!/bin/sh
# Installs what the tests use: a display, a sound server, sample speech, a board toolchain, an emulator.
# Does nothing when all are present.
set -eu
. "$(dirname "$0")/apt.sh"
. "$(dirname "$0")/backports.sh"
. "$(dirname "$0")/targets.sh"

[ "$(uname -s)" = Linux ] || exit 0

# The window: a real one under Xvfb with its clipboard, and software renderers for OpenGL and Vulkan.
install_packages xvfb xdotool xclip imagemagick libgl1-mesa-dri libxkbcommon-x11-0 libx11-xcb1 libxcursor1 libxi6 libgl1 \
  libegl1 mesa-vulkan-drivers libvulkan1
# Sound without a sound card, and recorded speech with its transcript.
install_packages pulseaudio pulseaudio-utils libasound2-plugins sox pocketsphinx-testdata
# Board firmware: the targets from rustup. Where that cannot, a Rust compiler with the sources of core, as new as the
# workspace wants it.
if ! add_target riscv32imc-unknown-none-elf || ! add_target riscv32imac-unknown-none-elf ||
  ! add_target riscv32imafc-unknown-none-elf; then
  install_at_least "$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$(dirname "$0")/../Cargo.toml")" rustc-web rust-web-src
fi
# The program for boards that run Linux: its target from rustup, or the C library beside that compiler.
if ! add_target aarch64-unknown-linux-musl && [ ! -f "$(musl_folder)/libc.a" ]; then
  install_packages rustc-web rust-web-src
  unpack_foreign arm64 musl-dev "$(musl_folder)/../../.."
fi
# The trainer's own Python.
python3 -c "import ensurepip" 2>/dev/null || install_packages python3-venv
# Boards without hardware.
install_newer_packages qemu-system-misc qemu-system-riscv qemu-user
