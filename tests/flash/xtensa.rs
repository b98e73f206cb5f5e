//! Firmware for Espressif's Xtensa chips, which comes along as source: what is laid out of a program that somebody built.

use super::firmware::{firmware, xtensa};
use whittle::board::Board;
use whittle::link::{FirmwareStatus, Image, Kinship, Part, prebuilt, status};

/// Addresses of an application descriptor and of code: esp-hal's `ld/esp32/memory.x` and `ld/esp32s3/memory.x`.
const ESP32: (u32, u32) = (0x3F40_0020, 0x400D_0020);
const ESP32S3: (u32, u32) = (0x3C00_0020, 0x4201_0020);

fn s3() -> Board {
    Board::find("esp32-s3-n16r8").unwrap().clone()
}

/// A board with an ESP32, for which there is no preset.
fn esp32() -> Board {
    let mut board = s3();
    board.chip = "esp32".to_owned();
    board
}

#[test]
fn a_program_for_xtensa_is_laid_out_as_its_chip_starts_it() {
    for (board, addresses, bootloader, chip) in
        [(s3(), ESP32S3, 0, 9_u16), (esp32(), ESP32, 0x1000, 0)]
    {
        assert_eq!(status(&board), FirmwareStatus::SourceOnly);
        assert!(prebuilt(&board).is_none());
        let image = Image::new(&board, &xtensa(addresses, 8_000), &[7; 100]).unwrap();
        let part = |part: Part| image.segments.iter().find(|s| s.part == part).unwrap();
        assert_eq!(part(Part::Bootloader).address, bootloader, "{}", board.chip);
        assert_eq!(part(Part::Firmware).address, 0x1_0000);
        for started in [Part::Bootloader, Part::Firmware] {
            // ESP-IDF Programming Guide, "App Image Format": the chip stands in bytes 12 and 13.
            let header = &part(started).bytes;
            assert_eq!(
                (header[0], &header[12..14]),
                (0xE9, &chip.to_le_bytes()[..])
            );
        }
        // It carries this engine's stamp, and is told as such.
        assert_eq!(image.firmware.kinship, Kinship::SameSources);
    }
}

#[test]
fn a_program_for_another_chip_is_refused_in_a_sentence() {
    let refused = |board: &Board, program: &[u8]| {
        let refused = Image::new(board, program, &[7; 100]).unwrap_err();
        refused.to_string()
    };
    let c3 = Board::find("esp32-c3").unwrap();
    let c6 = Board::find("esp32-c6").unwrap();
    assert!(refused(&s3(), &firmware(8_000)).ends_with("it is for RISC-V, the board is Xtensa"));
    assert!(
        refused(c3, &xtensa(ESP32S3, 8_000)).ends_with("it is for Xtensa, the board is RISC-V")
    );
    // Of one processor, by the name that esp-hal leaves in the file.
    assert_eq!(
        refused(c6, prebuilt(c3).unwrap()),
        "the firmware is for esp32c3, the board has esp32c6"
    );
}
