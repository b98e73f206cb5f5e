//! What goes where in a board's flash: bootloader, partition table, firmware, packed model.
//!
//! The model has a partition of its own, aligned to the pages of the flash mapping, that takes the
//! rest of the flash: a larger model later leaves the partition table as it is.

use super::{Firmware, Revision, elf};
use crate::board::{Board, FlashMethod};
use crate::estimate::{APP_OFFSET_BYTES, FIRMWARE_FLASH_BYTES, MODEL_ALIGNMENT_BYTES};
use crate::packed::PackError;
use engine::format::MAGIC;
use espflash::flasher::{FlashData, FlashMode, FlashSettings, FlashSize};
use espflash::image_format::Metadata;
use espflash::image_format::idf::{IdfBootloaderFormat, check_idf_bootloader};
use espflash::target::Chip;
use serde::Serialize;
use std::io::Write as _;

/// Where the bundled bootloaders look for the partition table.
const TABLE_OFFSET_BYTES: u32 = 0x8000;

/// ESP-IDF's partition tables take no larger application.
const MAX_APP_PARTITION_BYTES: u64 = 16 << 20;

/// Part of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Second-stage bootloader.
    Bootloader,
    /// Partition table.
    PartitionTable,
    /// Firmware.
    Firmware,
    /// Packed model.
    Model,
}

/// Bytes that belong at one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// What they are.
    pub part: Part,
    /// Offset in flash.
    pub address: u32,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Part {
    /// What a file of it is called.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Bootloader => "bootloader.bin",
            Self::PartitionTable => "partition-table.bin",
            Self::Firmware => "firmware.bin",
            Self::Model => "model.whittle",
        }
    }
}

impl Segment {
    /// Revisions of the chip that a bootloader or a firmware says it is for; `None` for other bytes.
    ///
    /// ESP-IDF Programming Guide, "App Image Format": two 16-bit numbers from byte 15 on. No last one is all bits, or none.
    pub(super) fn revisions(&self) -> Option<(Revision, Revision)> {
        let [0xE9, header @ ..] = self.bytes.as_slice() else {
            return None;
        };
        let number = |at: usize| {
            header
                .get(at - 1..)?
                .first_chunk()
                .map(|n| u16::from_le_bytes(*n))
        };
        let (least, most) = (number(15)?, number(17)?);
        let most = if most == 0 { u16::MAX } else { most };
        Some((Revision(least), Revision(most)))
    }
}

/// Everything that a board's flash shall hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The chip it is for.
    pub(super) chip: Chip,
    /// In ascending order of addresses, not overlapping.
    pub segments: Vec<Segment>,
    /// Flash that the image was laid out for.
    pub flash_bytes: u64,
    /// What the firmware says of its engine.
    pub firmware: Firmware,
}

/// Why an image could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Whittle cannot write boards of this kind.
    #[error("{board} is not written over a serial port: {way}")]
    Unsupported {
        /// The board.
        board: String,
        /// What to do instead.
        way: &'static str,
    },
    /// The board's chip or flash size is not one that exists.
    #[error("the board says \"{found}\", which is no {expected} that can be flashed")]
    Unknown {
        /// Chip or flash size.
        expected: &'static str,
        /// What the board says.
        found: String,
    },
    /// The firmware is not a program for this board.
    #[error("the firmware is not an ELF file for this board: {0}")]
    Firmware(String),
    /// The firmware says that it is for another chip.
    #[error("the firmware is for {found}, the board has {expected}")]
    Chip {
        /// The board's chip.
        expected: String,
        /// The firmware's.
        found: String,
    },
    /// The firmware would refuse the model.
    #[error(
        "the firmware reads packed files up to version {reads}, the model is of version {found}: take a newer firmware"
    )]
    Format {
        /// The newest version that the firmware reads.
        reads: u32,
        /// Version of the packed model.
        found: u32,
    },
    /// The model does not say what it was made from.
    #[error(transparent)]
    Model(#[from] PackError),
    /// Something is larger than its place.
    #[error("{what} needs {needs_bytes} bytes, the board has {has_bytes} for it: {} too many", needs_bytes - has_bytes)]
    DoesNotFit {
        /// Model or firmware.
        what: &'static str,
        /// What it takes.
        needs_bytes: u64,
        /// What there is.
        has_bytes: u64,
    },
    /// The partition table could not be handed over.
    #[error("cannot write a temporary file")]
    Temporary(#[from] std::io::Error),
}

impl Image {
    /// Lays out an image for `board` from a firmware ELF file and a packed model.
    ///
    /// # Errors
    /// When the board is not flashed over a serial port, the firmware is not an ELF file for it or says that it
    /// cannot read the model, or something does not fit.
    pub fn new(board: &Board, firmware: &[u8], model: &[u8]) -> Result<Self, ImageError> {
        let chip = chip(board)?;
        let flash_bytes = board
            .serial_flash
            .as_ref()
            .map_or(0, |memory| memory.bytes.value);
        let size = flash_size(flash_bytes)?;
        elf::check(firmware, board.isa).map_err(ImageError::Firmware)?;
        require_chip(firmware, chip)?;
        let facts = Firmware::of(firmware);
        require_format(&facts, model)?;

        // Once to learn the size of the firmware, once more with the partitions that follow from it.
        let roomy = flash_bytes
            .saturating_sub(APP_OFFSET_BYTES + MODEL_ALIGNMENT_BYTES)
            .min(MAX_APP_PARTITION_BYTES);
        let draft = build(chip, size, firmware, roomy, MODEL_ALIGNMENT_BYTES)?;
        let app_bytes = draft.last().map_or(0, |segment| segment.bytes.len() as u64);
        let app_partition_bytes = app_bytes
            .max(FIRMWARE_FLASH_BYTES)
            .next_multiple_of(MODEL_ALIGNMENT_BYTES);
        let model_address = APP_OFFSET_BYTES + app_partition_bytes;
        let has_bytes = flash_bytes.saturating_sub(model_address);
        let shown_bytes = window_bytes(chip).saturating_sub(app_partition_bytes);
        let needs_bytes = model.len() as u64;
        if needs_bytes > shown_bytes {
            return Err(ImageError::DoesNotFit {
                what: "the model, read in place through the chip's window on its flash,",
                needs_bytes,
                has_bytes: shown_bytes,
            });
        }
        if needs_bytes > has_bytes || has_bytes == 0 {
            return Err(ImageError::DoesNotFit {
                what: "the model",
                needs_bytes,
                has_bytes,
            });
        }
        let mut segments = build(chip, size, firmware, app_partition_bytes, has_bytes)?;
        segments.push(Segment {
            part: Part::Model,
            address: fits_u32(model_address),
            bytes: model.to_vec(),
        });
        Ok(Self {
            chip,
            segments,
            flash_bytes,
            firmware: facts,
        })
    }

    /// How to write the image by the vendor's tools, plain or to a locked chip, as Markdown.
    ///
    /// Source: Espressif's documentation of `esptool` and `espsecure` (version 5), and ESP-IDF Programming Guide, "Secure Boot
    /// V2" and "Flash Encryption".
    #[must_use]
    pub fn page(&self) -> String {
        let chip = self.chip.to_string();
        let listed = |suffix: &str| {
            let part = |segment: &Segment| {
                format!(
                    " {:#x} {}{suffix}",
                    segment.address,
                    segment.part.file_name()
                )
            };
            self.segments.iter().map(part).collect::<String>()
        };
        let each = |command: &dyn Fn(&Segment) -> Option<String>| {
            let lines = self.segments.iter().filter_map(command);
            lines
                .map(|line| format!("    {line}\n"))
                .collect::<String>()
        };
        let sign = each(&|segment| match segment.part {
            Part::Bootloader | Part::Firmware => {
                let name = segment.part.file_name();
                Some(format!(
                    "espsecure sign-data --version 2 --keyfile SIGNING_KEY.pem --output signed-{name} {name}"
                ))
            }
            Part::PartitionTable | Part::Model => None,
        });
        let encrypt = each(&|segment| {
            let (name, address) = (segment.part.file_name(), segment.address);
            Some(format!(
                "espsecure encrypt-flash-data --aes-xts --keyfile ENCRYPTION_KEY.bin --address {address:#x} --output {name}.encrypted {name}"
            ))
        });
        format!(
            "# Parts for the flash of an {chip}\n\n\
             A chip without locks takes them as they are:\n\n    \
             esptool --chip {chip} --port PORT write-flash{plain}\n\n\
             ## Secure boot\n\nThe bootloader and the firmware are not signed. With the product's key:\n\n{sign}\n\
             Then write the signed files in place of the plain ones.\n\n\
             ## Flash encryption\n\nWith the key that the chip has (a chip that made its own can only be written through its \
             own update):\n\n{encrypt}\n    \
             esptool --chip {chip} --port PORT write-flash{encrypted}\n\n\
             The partition table does not mark the model as encrypted; the firmware reads it through the flash cache, which \
             decrypts it. None of this was tried on a locked chip.\n",
            plain = listed(""),
            encrypted = listed(".encrypted"),
        )
    }

    /// Bytes to write.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.segments
            .iter()
            .map(|segment| segment.bytes.len() as u64)
            .sum()
    }

    /// First byte after the image in flash.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.segments.last().map_or(0, |segment| {
            u64::from(segment.address) + segment.bytes.len() as u64
        })
    }
}

/// Fails where the firmware says that it is for another chip; one whose symbols were stripped does not say.
fn require_chip(firmware: &[u8], chip: Chip) -> Result<(), ImageError> {
    let metadata = Metadata::from_bytes(Some(firmware));
    let expected = chip.to_string();
    match metadata.chip_name() {
        Some(found) if found != expected => Err(ImageError::Chip {
            expected,
            found: found.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// Fails where the firmware says that it cannot read the model.
///
/// # Errors
/// With both versions.
pub(super) fn require_format(firmware: &Firmware, model: &[u8]) -> Result<(), ImageError> {
    match (firmware.format, packed_version(model)) {
        (Some(reads), Some(found)) if found > reads => Err(ImageError::Format { reads, found }),
        _ => Ok(()),
    }
}

/// The version of a packed model; nothing for other bytes.
fn packed_version(model: &[u8]) -> Option<u32> {
    let version = model.strip_prefix(&MAGIC)?.first_chunk()?;
    Some(u32::from_le_bytes(*version))
}

fn chip(board: &Board) -> Result<Chip, ImageError> {
    let way = match board.flash_method {
        FlashMethod::EspressifSerial => {
            let unknown = |_| ImageError::Unknown {
                expected: "chip",
                found: board.chip.clone(),
            };
            return board.chip.parse().map_err(unknown);
        }
        FlashMethod::JLink => {
            "write the packed model with a J-Link probe (J-Link Commander, loadbin)"
        }
        FlashMethod::StLink => "write the packed model with an ST-LINK probe (STM32CubeProgrammer)",
        FlashMethod::Uf2 => "write the packed model with picotool load",
        FlashMethod::Linux => {
            "it runs Linux, and `whittle flash --parts FOLDER` writes the program, the model and how to copy and start them"
        }
    };
    Err(ImageError::Unsupported {
        board: board.name.clone(),
        way,
    })
}

fn flash_size(bytes: u64) -> Result<FlashSize, ImageError> {
    use FlashSize::{_1Mb, _2Mb, _4Mb, _8Mb, _16Mb, _32Mb, _64Mb, _128Mb};
    [_1Mb, _2Mb, _4Mb, _8Mb, _16Mb, _32Mb, _64Mb, _128Mb]
        .into_iter()
        .find(|size| u64::from(size.size()) == bytes)
        .ok_or_else(|| ImageError::Unknown {
            expected: "flash size",
            found: format!("{bytes} bytes"),
        })
}

/// Bootloader, table and firmware for these partition sizes.
fn build(
    chip: Chip,
    size: FlashSize,
    firmware: &[u8],
    app_bytes: u64,
    model_bytes: u64,
) -> Result<Vec<Segment>, ImageError> {
    let model_address = APP_OFFSET_BYTES + app_bytes;
    // espflash's parser panics on numbers as a subtype of data, hence "undefined".
    let table = format!(
        "nvs,data,nvs,0x9000,0x6000,\n\
         phy_init,data,phy,0xf000,0x1000,\n\
         factory,app,factory,{APP_OFFSET_BYTES:#x},{app_bytes:#x},\n\
         model,data,undefined,{model_address:#x},{model_bytes:#x},\n"
    );
    let mut file = tempfile::Builder::new().suffix(".csv").tempfile()?;
    file.write_all(table.as_bytes())?;
    // Two data lines: every module can do it, quad needs a bit set in some flash chips.
    let settings = FlashSettings::new(Some(FlashMode::Dio), Some(size), None);
    let least = least_revision(chip).0;
    let data = FlashData::new(settings, least, None, chip, chip.default_xtal_frequency());
    let said = |error: &dyn std::error::Error| ImageError::Firmware(super::chain(error));
    check_idf_bootloader(&firmware.to_vec())
        .map_err(|report| ImageError::Firmware(report.to_string()))?;
    // espflash indexes without checks in places; a malformed file must not end the program.
    let built = std::panic::catch_unwind(|| {
        let table = Some(TABLE_OFFSET_BYTES);
        IdfBootloaderFormat::new(firmware, &data, Some(file.path()), None, table, None)
    })
    .map_err(|_| ImageError::Firmware("its sections contradict each other".to_owned()))?;
    let image = built.map_err(|error| match error {
        espflash::Error::ElfTooBig(needs, has) => ImageError::DoesNotFit {
            what: "the firmware",
            needs_bytes: needs.into(),
            has_bytes: has.into(),
        },
        other => said(&other),
    })?;
    let parts = [Part::Bootloader, Part::PartitionTable, Part::Firmware];
    let mut segments: Vec<_> = parts
        .into_iter()
        .zip(image.flash_segments())
        .map(|(part, segment)| Segment {
            part,
            address: segment.addr,
            bytes: segment.data().to_vec(),
        })
        .collect();
    segments.sort_by_key(|segment| segment.address);
    Ok(segments)
}

/// The least revision of a chip that firmware of Whittle runs on, whether its file says so or not: a stripped one does not.
/// espflash raises it to what the file says, and takes the bootloader that belongs to it.
///
/// Source: esp-hal 1.2.2, `esp_config.yml`, `min-chip-revision`: of the ESP32-P4 it supports 3.0 and later, whose ROM and
/// clocks differ.
fn least_revision(chip: Chip) -> Revision {
    Revision(if chip == Chip::Esp32p4 { 300 } else { 0 })
}

/// Bytes of flash that a chip's window shows at once, code and data together; no bound where Whittle has no firmware.
///
/// Source: `firmware/boards/esp-riscv` and `esp-xtensa`, `src/chip/`: the entries of the window's table, a page each; the last
/// is the bootloader's.
fn window_bytes(chip: Chip) -> u64 {
    let entries = match chip {
        Chip::Esp32 => 64,
        Chip::Esp32c3 => 128,
        Chip::Esp32c6 => 256,
        Chip::Esp32s3 => 512,
        Chip::Esp32p4 => 1024,
        _ => return u64::MAX,
    };
    (entries - 1) * MODEL_ALIGNMENT_BYTES
}

fn fits_u32(bytes: u64) -> u32 {
    u32::try_from(bytes).expect("the flash sizes above end at 128 MB")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::prebuilt;

    /// The least revisions that bootloader and firmware of a preset board say they are for.
    fn check(id: &str, firmware: Option<&[u8]>, least: [u16; 2]) {
        let board = Board::find(id).expect("a preset");
        let firmware = firmware.or(prebuilt(board)).expect("it comes along");
        let image = Image::new(board, firmware, &[0; 100]).expect("it fits");
        let found = image.segments.iter().filter_map(Segment::revisions);
        let found: Vec<_> = found.map(|(least, _)| least).collect();
        assert_eq!(found, least.map(Revision), "{id}");
        let parts = image.segments.iter().map(|segment| segment.part);
        let expected = [
            Part::Bootloader,
            Part::PartitionTable,
            Part::Firmware,
            Part::Model,
        ];
        assert!(parts.eq(expected), "{id}");
        // What is estimated of a board holds for what is written to it.
        let app = image.segments.iter().find(|s| s.part == Part::Firmware);
        let app = app.expect("among the parts above").bytes.len() as u64;
        assert!(app <= FIRMWARE_FLASH_BYTES, "{id}: {app} bytes");
    }

    #[test]
    fn the_firmware_that_comes_along_says_which_revisions_it_is_for() {
        check("esp32-c3", None, [3, 0]);
        check("esp32-c6", None, [0, 0]);
        check("esp32-p4", None, [300, 300]);
    }

    #[test]
    fn a_model_that_the_chips_window_does_not_show_is_refused() {
        let mut board = Board::find("esp32-c3").expect("a preset").clone();
        let flash = board.serial_flash.as_mut().expect("it has one");
        flash.bytes.value = 16 << 20;
        let firmware = prebuilt(&board).expect("it comes along");
        let check = |bytes: usize| Image::new(&board, firmware, &vec![0; bytes]);
        // 127 pages of 64 KiB, six of them the application's.
        let shown = 121 << 16;
        assert!(check(shown).is_ok());
        let refusal = check(shown + 1).expect_err("one byte too many").to_string();
        assert!(refusal.contains("through the chip's window"), "{refusal}");
        assert!(
            refusal.contains("the board has 7929856 for it: 1 too many"),
            "{refusal}"
        );
    }

    #[test]
    fn a_file_without_symbols_is_for_the_same_revisions() {
        // What `strip` takes away: the table of the symbols is no such table any more.
        let board = Board::find("esp32-p4").expect("a preset");
        let mut stripped = prebuilt(board).expect("it comes along").to_vec();
        let word = |file: &[u8], at: usize| {
            u32::from_le_bytes(*file[at..].first_chunk().expect("inside of the file")) as usize
        };
        let (sections, count) = (word(&stripped, 32), word(&stripped, 48) & 0xFFFF);
        for header in (0..count).map(|section| sections + 40 * section) {
            const SYMBOLS: usize = 2;
            if word(&stripped, header + 4) == SYMBOLS {
                stripped[header + 4..header + 8].fill(0);
            }
        }
        check("esp32-p4", Some(&stripped), [300, 300]);
    }
}
