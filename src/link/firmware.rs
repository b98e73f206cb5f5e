//! The firmware that comes with Whittle, built from `firmware/boards/`.

use crate::board::{Board, FlashMethod, Isa};
use engine::format::VERSION;
use engine::stamp::{ENGINE_SOURCES, GOLDEN_ANSWERS, Stamp};
use serde::Serialize;
use std::fmt;
use std::sync::LazyLock;

/// A firmware that comes along; `assets/firmware/README.md` tells its compiler and hash.
struct Along {
    /// An ELF file.
    file: &'static [u8],
    /// What it says of its engine.
    facts: LazyLock<Firmware>,
}

/// For the ESP32-C3.
static ESP32C3: Along = Along {
    file: include_bytes!("../../assets/firmware/esp32c3.elf"),
    facts: LazyLock::new(|| Firmware::of(ESP32C3.file)),
};
/// For boards that run Linux on aarch64.
static LINUX_AARCH64: Along = Along {
    file: include_bytes!("../../assets/firmware/linux-aarch64"),
    facts: LazyLock::new(|| Firmware::of(LINUX_AARCH64.file)),
};

/// The prebuilt firmware for a board, an ELF file; `None` where there is none yet.
#[must_use]
pub fn prebuilt(board: &Board) -> Option<&'static [u8]> {
    along(board).map(|along| along.file)
}

fn along(board: &Board) -> Option<&'static Along> {
    if board.flash_method == FlashMethod::Linux {
        return (board.isa == Isa::Aarch64).then_some(&LINUX_AARCH64);
    }
    (board.chip == "esp32c3").then_some(&ESP32C3)
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
        along(board).map(|along| &*along.facts)
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

    const EVERY: [(&str, &Along); 2] =
        [("esp32c3.elf", &ESP32C3), ("linux-aarch64", &LINUX_AARCH64)];

    /// What comes along must give the answers that are heard here, from the files that are written here. The
    /// digest of the sources only informs: `whittle boards` shows it.
    #[test]
    fn the_prebuilt_firmware_reads_and_answers_as_this_program_does() {
        for (name, along) in EVERY {
            let firmware = &*along.facts;
            let is_kin = match firmware.kinship {
                Kinship::SameSources | Kinship::SameAnswers => true,
                Kinship::OtherAnswers | Kinship::OtherFormat | Kinship::Unknown => false,
            };
            assert!(
                is_kin,
                "assets/firmware/{name} {firmware}: scripts/build-firmware.sh makes a new one"
            );
        }
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
    fn the_prebuilt_firmware_is_the_one_that_its_page_names() {
        let page = include_str!("../../assets/firmware/README.md");
        for (name, along) in EVERY {
            let hash = Sha256::digest(along.file)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect::<String>();
            let is_named = page
                .lines()
                .any(|line| line.contains(&format!("`{name}`")) && line.contains(&hash));
            assert!(
                is_named,
                "{name}: {hash} is not in assets/firmware/README.md"
            );
        }
    }
}
