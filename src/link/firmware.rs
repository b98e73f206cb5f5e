//! The firmware that comes with Whittle, built from `firmware/boards/`.

use crate::board::Board;

/// For the ESP32-C3; `assets/firmware/README.md` tells its compiler and hash.
const ESP32C3: &[u8] = include_bytes!("../../assets/firmware/esp32c3.elf");

/// The prebuilt firmware for a board, an ELF file; `None` where there is none yet.
#[must_use]
pub fn prebuilt(board: &Board) -> Option<&'static [u8]> {
    (board.chip == "esp32c3").then_some(ESP32C3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};

    #[test]
    fn the_prebuilt_firmware_is_the_one_that_its_page_names() {
        let hash = Sha256::digest(ESP32C3)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect::<String>();
        let page = include_str!("../../assets/firmware/README.md");
        assert!(
            page.contains(&hash),
            "{hash} is not in assets/firmware/README.md"
        );
    }
}
