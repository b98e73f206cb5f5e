//! The firmware that comes with Whittle, built from `firmware/boards/`.

use crate::board::{Board, FlashMethod, Isa};
use engine::format::VERSION;
use engine::stamp::{ENGINE_SOURCES, GOLDEN_ANSWERS, Stamp};
use serde::Serialize;
use std::fmt;
use std::sync::LazyLock;

/// A firmware that comes along; `assets/firmware/README.md` tells each file's compiler and hash.
struct Prebuilt {
    /// Its chip, as `scripts/build-firmware.sh` calls it.
    chip: &'static str,
    status: FirmwareStatus,
    file: &'static [u8],
    /// The crates in it, as `scripts/firmware-crates.sh` lists them.
    crates: &'static str,
}

const PREBUILT: [Prebuilt; 4] = [
    Prebuilt {
        chip: "esp32c3",
        status: FirmwareStatus::Emulated,
        file: include_bytes!("../../assets/firmware/esp32c3.elf"),
        crates: include_str!("../../assets/firmware/esp32c3.crates"),
    },
    Prebuilt {
        chip: "esp32c6",
        status: FirmwareStatus::NeverRun,
        file: include_bytes!("../../assets/firmware/esp32c6.elf"),
        crates: include_str!("../../assets/firmware/esp32c6.crates"),
    },
    Prebuilt {
        chip: "esp32p4",
        status: FirmwareStatus::NeverRun,
        file: include_bytes!("../../assets/firmware/esp32p4.elf"),
        crates: include_str!("../../assets/firmware/esp32p4.crates"),
    },
    Prebuilt {
        chip: LINUX,
        status: FirmwareStatus::Emulated,
        file: include_bytes!("../../assets/firmware/linux-aarch64"),
        crates: include_str!("../../assets/firmware/linux-aarch64.crates"),
    },
];

/// Chips with a firmware that only Espressif's compiler builds: `make firmware BOARD=esp32s3`.
const SOURCE_ONLY: [&str; 2] = ["esp32", "esp32s3"];

/// The program of boards that run Linux, whatever their chip.
const LINUX: &str = "linux-aarch64";

/// How far the firmware that comes along for a board has been tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FirmwareStatus {
    /// The very bytes answer as the desktop does in an emulator of the chip; no chip has run them.
    Emulated,
    /// They have been built and laid out, and nothing has run them.
    NeverRun,
    /// There is the source: its compiler is none that a plain Rust brings, so it was never built.
    SourceOnly,
    /// There are none.
    None,
}

impl FirmwareStatus {
    /// What people read.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Emulated => "proven in an emulator",
            Self::NeverRun => "built, never run",
            Self::SourceOnly => "source only, never built",
            Self::None => "none",
        }
    }
}

/// The place in [`PREBUILT`] of the firmware for a board.
fn place(board: &Board) -> Option<usize> {
    let name = match (board.flash_method, board.isa) {
        (FlashMethod::Linux, Isa::Aarch64) => LINUX,
        (FlashMethod::Linux, _) => return None,
        (
            FlashMethod::EspressifSerial
            | FlashMethod::JLink
            | FlashMethod::StLink
            | FlashMethod::Uf2,
            _,
        ) => board.chip.as_str(),
    };
    PREBUILT.iter().position(|known| known.chip == name)
}

/// The prebuilt firmware for a board, an ELF file; `None` where there is none yet.
#[must_use]
pub fn prebuilt(board: &Board) -> Option<&'static [u8]> {
    place(board).map(|at| PREBUILT[at].file)
}

/// How far the firmware for a board has been tried.
#[must_use]
pub fn status(board: &Board) -> FirmwareStatus {
    match place(board) {
        Some(at) => PREBUILT[at].status,
        None if SOURCE_ONLY.contains(&board.chip.as_str()) => FirmwareStatus::SourceOnly,
        None => FirmwareStatus::None,
    }
}

/// The crates in the prebuilt firmware for a board, one a line: name, version, licence.
pub(super) fn crates(board: &Board) -> &'static str {
    place(board).map_or("", |at| PREBUILT[at].crates)
}

/// What a firmware says of the engine in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Firmware {
    /// The newest packed format that it reads; unknown where it has no stamp.
    pub format: Option<u32>,
    /// Digest of its golden answers, in hexadecimal.
    pub answers: Option<String>,
    /// Digest of its engine's sources, in hexadecimal.
    pub engine: Option<String>,
    /// Digest of the sources of what every board runs, in hexadecimal.
    pub app: Option<String>,
    /// How its engine compares with this program's.
    pub kinship: Kinship,
}

/// How a firmware's engine compares with this program's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kinship {
    /// Built from the same sources.
    SameSources,
    /// Built from other sources that give the same answers.
    SameAnswers,
    /// It gives other answers: what is heard here is not what the board says.
    OtherAnswers,
    /// It reads other versions of the packed file than this program writes.
    OtherFormat,
    /// It does not say.
    Unknown,
}

impl Firmware {
    /// Reads the stamp in a firmware's file.
    #[must_use]
    pub fn of(file: &[u8]) -> Self {
        Self::stamped(Stamp::find(file))
    }

    /// What a stamp says.
    #[must_use]
    pub fn stamped(stamp: Option<Stamp>) -> Self {
        let digest = |of: fn(&Stamp) -> u64| stamp.as_ref().map(|s| format!("{:016x}", of(s)));
        Self {
            format: stamp.map(|s| s.format),
            answers: digest(|s| s.answers),
            engine: digest(|s| s.engine),
            app: digest(|s| s.app),
            kinship: match stamp {
                None => Kinship::Unknown,
                Some(s) if s.format != VERSION => Kinship::OtherFormat,
                Some(s) if s.answers != GOLDEN_ANSWERS => Kinship::OtherAnswers,
                Some(s) if s.engine != ENGINE_SOURCES => Kinship::SameAnswers,
                Some(_) => Kinship::SameSources,
            },
        }
    }

    /// That of the prebuilt firmware for a board.
    #[must_use]
    pub fn prebuilt(board: &Board) -> Option<&'static Self> {
        static OF_EACH: [LazyLock<Firmware>; PREBUILT.len()] = [
            LazyLock::new(|| Firmware::of(PREBUILT[0].file)),
            LazyLock::new(|| Firmware::of(PREBUILT[1].file)),
            LazyLock::new(|| Firmware::of(PREBUILT[2].file)),
            LazyLock::new(|| Firmware::of(PREBUILT[3].file)),
        ];
        place(board).map(|at| &*OF_EACH[at])
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = self.format.unwrap_or_default();
        let engine = self.engine.as_deref().unwrap_or("unknown");
        match self.kinship {
            Kinship::SameSources => write!(
                f,
                "gives this program's answers, built from the same engine ({engine})"
            ),
            Kinship::SameAnswers => write!(
                f,
                "gives this program's answers, built from other engine sources \
                 ({engine}, here {ENGINE_SOURCES:016x})"
            ),
            Kinship::OtherAnswers => write!(
                f,
                "gives other answers than this program, built from engine {engine} \
                 (here {ENGINE_SOURCES:016x})"
            ),
            Kinship::OtherFormat => write!(
                f,
                "reads packed files up to version {format}, this program writes version {VERSION}"
            ),
            Kinship::Unknown => f.write_str("does not say which engine is in it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest as _, Sha256};

    /// What comes along must give the answers that are heard here, from the files that are written here. The
    /// digest of the sources only informs: `whittle boards` shows it.
    #[test]
    fn the_prebuilt_firmware_reads_and_answers_as_this_program_does() {
        for Prebuilt { chip, file, .. } in PREBUILT {
            let firmware = Firmware::of(file);
            let is_kin = match firmware.kinship {
                Kinship::SameSources | Kinship::SameAnswers => true,
                Kinship::OtherAnswers | Kinship::OtherFormat | Kinship::Unknown => false,
            };
            assert!(
                is_kin,
                "assets/firmware/{chip} {firmware}: scripts/build-firmware.sh makes a new one"
            );
        }
    }

    #[test]
    fn every_board_says_how_far_its_firmware_was_tried() {
        let of = |chip: &str| {
            let board = Board::presets().iter().find(|board| board.chip == chip);
            let board = board.expect("a preset with the chip");
            assert_eq!(
                prebuilt(board).is_some(),
                Firmware::prebuilt(board).is_some()
            );
            status(board).name()
        };
        assert_eq!(of("esp32c3"), "proven in an emulator");
        assert_eq!(of("esp32c6"), "built, never run");
        assert_eq!(of("esp32p4"), "built, never run");
        assert_eq!(of("esp32s3"), "source only, never built");
        assert_eq!(of("r7fa8m1"), "none");
    }

    #[test]
    fn a_firmware_says_how_it_compares() {
        let own = Stamp::of_this_engine(7);
        let check = |stamp: Stamp, kinship: Kinship, sentence: &str| {
            let file = [&[0; 100][..], &stamp.to_bytes(), &[0; 100]].concat();
            let found = Firmware::of(&file);
            assert_eq!((found.kinship, found.format), (kinship, Some(stamp.format)));
            assert_eq!(found.app.as_deref(), Some("0000000000000007"));
            assert!(found.to_string().starts_with(sentence), "{found}");
        };
        check(own, Kinship::SameSources, "gives this program's answers");
        let engine = !own.engine;
        let same = "gives this program's answers, built from other";
        check(Stamp { engine, ..own }, Kinship::SameAnswers, same);
        let answers = !own.answers;
        let other = "gives other answers";
        check(Stamp { answers, ..own }, Kinship::OtherAnswers, other);
        let format = VERSION - 1;
        let older = "reads packed files up to version 1, ";
        check(Stamp { format, ..own }, Kinship::OtherFormat, older);
        let unknown = Firmware::of(&[0; 1000]);
        assert_eq!(unknown.kinship, Kinship::Unknown);
        assert_eq!(unknown.to_string(), "does not say which engine is in it");
    }

    #[test]
    fn every_prebuilt_firmware_is_the_one_that_its_page_names() {
        let page = include_str!("../../assets/firmware/README.md");
        for Prebuilt {
            chip, status, file, ..
        } in PREBUILT
        {
            let hash = Sha256::digest(file)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect::<String>();
            let row = page
                .lines()
                .find(|line| line.starts_with(&format!("| `{chip}")));
            let row = row.unwrap_or_default();
            assert!(
                row.contains(&hash) && row.contains(status.name()),
                "{chip}: assets/firmware/README.md does not say {hash}, {}",
                status.name()
            );
        }
    }
}
